// A runner by agentapi, its relay and all that it runs under, against a stub of agentapi's routes whose screen is a
// script.

import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Stop } from "../../services/host-agent/held/executor.ts";
import { agentapiRunner } from "../../services/host-agent/runner/agentapi/driver.ts";
import { lookOn } from "../../services/host-agent/runner/program.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { type AttemptHost, startAttemptHost } from "../support/attempt.ts";
import { makeRepository, type Repository } from "../support/repository.ts";

const STUB = path.resolve(import.meta.dirname, "../support/agentapi-stub.ts");
const DEADLINE = { timeout: 30_000, interval: 25 };
const QUIET_MS = 2_500;

let host: AttemptHost;
let repository: Repository;
beforeAll(async () => {
  const runner = (name: string, ...argv: string[]) =>
    agentapiRunner({
      name,
      argv,
      env: {},
      version: undefined,
      look: lookOn(process.env.PATH ?? ""),
      quietMs: QUIET_MS,
    });
  const stub = [process.execPath, STUB];
  host = await startAttemptHost({
    runners: [
      runner("stub", ...stub),
      runner("dialog", ...stub, "Do you trust this folder?\n ❯ 1. Yes, I do\n   2. No"),
      runner("absent", "/nowhere/agentapi"),
    ],
    tools: stub,
  });
  repository = makeRepository();
});
afterAll(async () => {
  await host.seeNothingLeft();
  await host[Symbol.asyncDispose]();
  repository[Symbol.dispose]();
});
const told = (prompt: string, agent: DeployRequest["agent"] = {}, runner = "stub") => ({
  runner,
  prompt,
  agent,
});
const patchOf = async (taskId: string) => Buffer.concat(await host.artifact(taskId, "patch")).toString();
const asks = (taskId: string) =>
  vi.waitUntil(async () => (await host.events(taskId)).find((event) => event.type === "approval"), DEADLINE);
const speaking = async (prompt: string, agent: DeployRequest["agent"] = {}) => {
  const attempt = host.start(repository, told(prompt, agent));
  const run = await vi.waitUntil(() => attempt.run(), DEADLINE);
  return { ...attempt, run };
};

// They wait for screens to be still, and do that together.
describe.concurrent("an agent on a screen", () => {
  it("is over once its screen is still, several at once, each for itself", async () => {
    const checked = { checks: ['test "$(sh mended.sh)" = 5'] };
    const both = await Promise.all([
      host.run(repository, { ...told(" the one\u001b\r "), ...checked }),
      host.run(repository, { ...told("the other"), ...checked }),
    ]);
    for (const { failure, result } of both) {
      expect(failure).toBeNull();
      expect(result).toMatchObject({ agent: { runner: "stub", usage: null, denied: 0 } });
    }
    expect(both.map(({ result }) => result?.agent?.summary)).toEqual([
      "All is well, after: the one",
      "All is well, after: the other",
    ]);
    const events = await host.events(both[0].taskId);
    expect(events.map(({ type }) => type)).toEqual(["started", "text"]);
  });

  it.each([
    ["deny", ["started", "denied", "text"]],
    ["allow", ["started", "text"]],
  ] as const)("that asks is answered by the policy %s", async (approvals, types) => {
    const { taskId, failure, result } = await host.run(repository, told("ask", { approvals }));
    expect(failure).toBeNull();
    expect((await host.events(taskId)).map(({ type }) => type)).toEqual(types);
    expect(result?.agent?.denied).toBe(approvals === "deny" ? 1 : 0);
    expect((await patchOf(taskId)).includes("asked.txt")).toBe(approvals === "allow");
  });

  it("that asks a person is told nothing else until it has its answer, a denial if there is none", async () => {
    // A message would be a yes. It has been quiet for long enough to be told one before its time is up.
    const { taskId, ended, run } = await speaking("ask", { approvals: "ask", silenceMs: 20_000 });
    await asks(taskId);
    expect(run.say("go on")).toBe(true);
    const { failure, result } = await ended;
    expect(failure).toBeNull();
    expect(result?.agent).toMatchObject({ denied: 1, usage: null });
    const patch = await patchOf(taskId);
    expect([patch.includes("asked.txt"), patch.includes("mended.sh")]).toEqual([false, true]);
  });

  it("that asks a person is answered by one", async () => {
    const { taskId, ended, run } = await speaking("ask", { approvals: "ask" });
    const { id } = await asks(taskId);
    expect(run.answer("another", true)).toBe(false);
    expect(run.answer(id, true)).toBe(true);
    expect(run.answer(id, true)).toBe(false);
    expect((await ended).result?.agent?.denied).toBe(0);
    expect(await patchOf(taskId)).toContain("asked.txt");
  });

  it("that only looks as if it asked is let be in the end", async () => {
    const { failure, result } = await host.run(repository, told("nag"));
    expect({ failure, denied: result?.agent?.denied }).toEqual({ failure: null, denied: 2 });
  });

  it("that asks something before it takes a prompt did not begin", async () => {
    const { failure } = await host.run(repository, told("x", { approvals: "allow" }, "dialog"));
    expect(failure).toMatchObject({
      category: "setup",
      message: expect.stringContaining("Do you trust this folder?"),
    });
  });

  it.each([
    ["die", "stub", { category: "agent", message: expect.stringContaining("it exited 3") }],
    ["x", "absent", { category: "setup", message: expect.stringContaining("ENOENT") }],
  ])("that ends by itself when told %s fails (%s)", async (prompt, runner, failure) => {
    expect((await host.run(repository, told(prompt, {}, runner))).failure).toMatchObject(failure);
  });

  it("that cannot be given a model is not begun", async () => {
    const { failure } = await host.run(repository, told("x", { model: "opus" }));
    expect(failure).toMatchObject({ category: "agent", message: expect.stringContaining("agent.model") });
  });

  it("that only turns its spinner is silent", async () => {
    const { failure } = await host.run(repository, told("spin", { silenceMs: 5_000 }));
    expect(failure?.category).toBe("timeout");
  });

  it("is told of its interruption, and goes when it is cancelled", async () => {
    const { taskId, ended, stop, run } = await speaking("spin");
    expect(run.interrupt()).toBe(false);
    await vi.waitUntil(async () => (await host.events(taskId)).length > 0, DEADLINE);
    expect(run.interrupt()).toBe(true);
    const cancelled = new Stop({ category: "cancelled", message: "the task was cancelled" });
    stop(cancelled);
    expect(await ended).toMatchObject({ ok: false, failure: { category: "cancelled" } });
  });
});
