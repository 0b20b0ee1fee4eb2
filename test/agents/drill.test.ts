// `mesh drill session` against a `mesh up` as a user has it, with the real Claude Code and a stub of its provider that knows
// nothing of drills: the session really goes on elsewhere, and where there is nothing to drill, or nothing to drill with,
// it says so.
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { SessionReport } from "../../services/cli/drill/session-drill.ts";
import { startUp, type UpMesh } from "../support/mesh-program.ts";
import { type MessagesApi, startMessagesApi, type Turn } from "../support/messages-api.ts";

const program = inject("claudeProgram");
const LEASE_MS = "3000";

const step = (number: number): Turn => [
  { text: `This is step ${number}.` },
  { tool: "Write", input: { file_path: `$CWD/step-${number}.txt`, content: `${number}\n` } },
];
const OVER: Turn = [{ text: "The drill is over." }];

describe.skipIf(program === null)("mesh drill session", () => {
  let api: MessagesApi;
  let up: UpMesh;
  beforeAll(async () => {
    api = await startMessagesApi();
    up = await startUp(["--hosts", "1"], { env: { MESH_LEASE_MS: LEASE_MS } });
  });
  afterAll(async () => {
    await up[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
  });

  const drill = (env: NodeJS.ProcessEnv = {}) =>
    up.mesh(["drill", "session", "--json"], {
      env: {
        ...{ MESH_LEASE_MS: LEASE_MS, MESH_HOST_SANDBOX: "1", MESH_CLAUDE_BIN: program ?? "" },
        ...{ ANTHROPIC_API_KEY: "sk-ant-test-0123456789", ANTHROPIC_BASE_URL: api.url, ...env },
      },
    });

  it("has another host go on with the session and the work of one that is killed in turn 3", async () => {
    api.play(step(1), step(2), step(3), step(4), OVER);
    const { code, stdout, stderr } = await drill();
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const report = JSON.parse(stdout) as SessionReport;
    expect(report).toMatchObject({
      drill: "session",
      turns: [
        { attempt: 1, hostId: "drill-1", turns: [1, 2, 3] },
        { attempt: 2, hostId: "drill-2" },
      ],
      resumedFrom: { attempt: 1, hostId: "drill-1", turns: 2 },
      shownAgain: { shown: 2, of: 2 },
      workKept: { kept: 2, of: 2 },
      state: "succeeded",
      ok: true,
    });
    // The third answer was held up before it came to the provider.
    expect(api.requests[2]?.messages).toContain("you go on on another one");
  });

  it("says so where its agent ends before its third turn", async () => {
    api.play(step(1), OVER);
    const { code, stderr } = await drill();
    expect(code).toBe(1);
    expect(stderr).toContain("the agent ended before turn 3");
    expect(stderr).toContain("its model was asked for 2 answers, and the task is succeeded");
  });

  it.each<[NodeJS.ProcessEnv, string]>([
    [{ ANTHROPIC_API_KEY: "" }, "set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN"],
    [{ MESH_CLAUDE_BIN: "/nowhere/claude" }, "/nowhere/claude does not say which version it is"],
  ])("says what is missing with %j", async (env, words) => {
    const { code, stderr } = await drill(env);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining(words) });
  });
});
