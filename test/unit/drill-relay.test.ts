// What a drill reads from a request for the model's next answer.
import { describe, expect, it } from "vitest";
import { askedIn } from "../../services/cli/drill/provider-relay.ts";

const body = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const tools = [{ name: "Write" }];
const uses = (id: string) => ({ role: "assistant", content: [{ type: "text" }, { type: "tool_use", id }] });
const answers = (id: string) => ({ role: "user", content: [{ type: "tool_result", tool_use_id: id }] });

describe("a request to the provider", () => {
  it("asks for the first answer where the model has said nothing yet", () => {
    const messages = [{ role: "user", content: "Begin." }];
    expect(askedIn(body({ max_tokens: 1, tools, messages }))).toEqual({ turn: 1, toolIds: [] });
  });

  it("asks for one more than the model has given, and names the tools of those", () => {
    const messages = [
      { role: "user", content: "Begin." },
      ...[uses("a"), answers("a"), { role: "assistant", content: "Words alone." }, uses("b"), answers("b")],
    ];
    expect(askedIn(body({ max_tokens: 1, tools, messages }))).toEqual({ turn: 4, toolIds: ["a", "b"] });
  });

  it.each([
    ["without tools", { max_tokens: 1, messages: [] }],
    ["that only counts", { tools, messages: [] }],
    ["that is none", "nothing"],
  ])("%s asks for no answer of the session's", (_, value) => expect(askedIn(body(value))).toBeNull());

  it("that is no JSON asks for nothing", () => expect(askedIn(Buffer.from("{"))).toBeNull());
});
