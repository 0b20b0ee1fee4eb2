// What a line means that somebody types while attached to a task.
import { describe, expect, it } from "vitest";
import { readTyped } from "../../services/cli/tasks/attach-line.ts";
import { API } from "../../shared/contracts/api.ts";

describe("a line that is typed", () => {
  it.each([
    ["Leave the API as it is. ", { text: "Leave the API as it is." }],
    ["//etc is no command", { text: "/etc is no command" }],
    ["/interrupt", { interrupt: true }],
    ["/interrupt fix the test first", { interrupt: true, text: "fix the test first" }],
    ["/approve", { approval: { id: "second", allow: true } }],
    ["/deny first", { approval: { id: "first", allow: false } }],
  ])("%j is said to the agent", (line, words) => {
    expect(readTyped(line, ["first", "second"])).toEqual({ kind: "say", words });
    expect(API.say.request.safeParse({ taskId: "one", ...words }).success).toBe(true);
  });

  it.each([
    ["", [], { kind: "nothing" }],
    ["/help", [], { kind: "help" }],
    ["/detach now", [], { kind: "detach" }],
    ["/approve", [], { kind: "wrong", problem: "no tool has asked for approval" }],
    ["/quit", ["a"], { kind: "wrong", problem: "there is no /quit; /help tells what there is" }],
    ["/", ["a"], { kind: "wrong", problem: "there is no /; /help tells what there is" }],
  ])("%j, with %j asking, is not", (line, asking, typed) => {
    expect(readTyped(line, asking)).toEqual(typed);
  });
});
