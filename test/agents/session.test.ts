// An agent whose host is gone goes on elsewhere, with its session and its work: the real Claude Code, on hosts that are
// processes of their own, against a stub of its provider that tells what the model was shown.
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { askApi } from "../../shared/bus/ask.ts";
import { latestCheckpoint } from "../../shared/bus/checkpoints.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { storedMessages } from "../../shared/bus/read.ts";
import { ARTIFACTS, LOGS } from "../../shared/bus/streams.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { artifactSubject } from "../../shared/contracts/artifact.ts";
import { type CheckpointView, checkpointSubject } from "../../shared/contracts/checkpoint.ts";
import { LogChunk, logSubject } from "../../shared/contracts/log.ts";
import type { TaskView } from "../../shared/contracts/task.ts";
import { openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { untilGone } from "../support/mesh-program.ts";
import { type MessagesApi, startMessagesApi, type Turn } from "../support/messages-api.ts";
import { startNats } from "../support/nats.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { type ServiceProcess, startServiceProcesses } from "../support/service-processes.ts";

const program = inject("claudeProgram");
const DEADLINE = { timeout: 90_000, interval: 50 };
const LEASE_MS = 3_000;
const HOSTS = ["attic", "cellar"];
const GONE_MS = 600_000;

const step = (number: number): Turn => [
  { text: `This is step ${number}.` },
  { tool: "Write", input: { file_path: `$CWD/step-${number}.txt`, content: `done ${number}\n` } },
];
const DONE: Turn = [{ text: "All steps are done." }];
const NO_KEY: Turn = { status: 401, error: "authentication_error", message: "stub says 401" };

describe.skipIf(program === null)("the session of an agent", () => {
  let stack: AsyncDisposableStack;
  let folder: string;
  let api: MessagesApi;
  let bus: Bus;
  let repository: Repository;
  const hosts = new Map<string, ServiceProcess>();
  let tasks = 0;

  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    folder = await mkdtemp(path.join(tmpdir(), "mesh-session-"));
    stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    stack.defer(async () => {
      const left = await untilGone(folder);
      if (left.length > 0) throw new Error(`still there: ${left.join("\n")}`);
    });
    repository = stack.use(makeRepository());
    api = stack.use(await startMessagesApi());
    const nats = stack.use(await startNats());
    bus = stack.use(await openBus(nats.url));
    const services = stack.use(
      await startServiceProcesses(folder, { NATS_URL: nats.url, MESH_LEASE_MS: String(LEASE_MS) }),
    );
    services.start("scheduler");
    services.start("status-tracker");
    for (const hostId of HOSTS)
      hosts.set(
        hostId,
        services.start("host-agent", {
          MESH_HOST_ID: hostId,
          MESH_DATA_DIR: path.join(folder, hostId),
          MESH_ALLOW_FILE_CLONES: "1",
          MESH_HOST_SANDBOX: "1",
          MESH_HOST_TOOLS: program ?? "",
          MESH_CLAUDE_BIN: program ?? "",
          ANTHROPIC_API_KEY: "sk-ant-test-0123456789",
          ANTHROPIC_BASE_URL: api.url,
        }),
      );
  });
  afterAll(() => stack.disposeAsync());
  beforeEach(() =>
    vi.waitUntil(async () => {
      const known = await askApi(bus, "hosts", {}, 1_000);
      return known.ok && known.value.data.filter(({ online }) => online).length === HOSTS.length;
    }, DEADLINE),
  );
  afterEach(() => {
    for (const host of hosts.values()) host.keepDown(0);
  });

  async function deploy(): Promise<string> {
    const { url: cloneUrl, branch, headSha: sha } = repository;
    const taskId = `session-${++tasks}`;
    const asked = { cloneUrl, branch, sha, taskId, prompt: "Do all steps.", run: undefined };
    expect(await submitTask(bus, request(asked))).toMatchObject({ ok: true });
    return taskId;
  }
  async function until(taskId: string, isSo: (task: TaskView) => boolean): Promise<TaskView> {
    return vi.waitUntil(async () => {
      const task = await askApi(bus, "get", { taskId }, 1_000);
      return task.ok && isSo(task.value) ? task.value : null;
    }, DEADLINE);
  }
  const ended = (taskId: string) => until(taskId, ({ endedAt }) => endedAt !== null);
  async function untilKept(
    taskId: string,
    isEnough: (turns: number) => boolean,
    number = 1,
  ): Promise<CheckpointView> {
    const { hostId } = await until(taskId, ({ attempt }) => attempt === number);
    return vi.waitUntil(async () => {
      const kept = await latestCheckpoint(bus, { taskId, attempt: number, hostId: hostId ?? "" });
      return kept !== null && isEnough(kept.turns) ? kept : null;
    }, DEADLINE);
  }
  /** Its host ends, as when it is shut down, and has gone from the mesh. */
  async function preempt(taskId: string, hostId: string): Promise<void> {
    const host = hosts.get(hostId);
    host?.keepDown(GONE_MS);
    host?.signal("SIGTERM");
    await until(taskId, ({ hostId: now, active }) => !active || now !== hostId);
  }
  async function textOf(stream: string, subject: string): Promise<string> {
    const payloads: Uint8Array[] = [];
    for await (const { payload } of storedMessages(bus, stream, subject)) payloads.push(payload);
    return Buffer.concat(payloads).toString();
  }
  const patchOf = ({ taskId, attempt, hostId }: TaskView) => {
    const of = { taskId, attempt: String(attempt), hostId: hostId ?? "", name: "patch" };
    return textOf(ARTIFACTS, artifactSubject.build(of));
  };
  async function phasesOf(taskId: string): Promise<string[]> {
    const texts: string[] = [];
    for await (const { payload } of storedMessages(bus, LOGS, logSubject.wildcard({ taskId }))) {
      const chunk = LogChunk.parse(JSON.parse(Buffer.from(payload).toString()));
      if (chunk.source === "phase") texts.push(chunk.text);
    }
    return texts;
  }

  it("goes on on another host when its own is killed in the third turn, with the turns before and their work", async () => {
    api.play(step(1), step(2), "hang", step(4), DONE);
    const taskId = await deploy();
    const { hostId: first } = await untilKept(taskId, (turns) => turns === 2);
    await vi.waitUntil(() => api.requests.length === 3, DEADLINE);
    const host = hosts.get(first);
    host?.keepDown(GONE_MS);
    await host?.kill();

    const task = await ended(taskId);
    expect(task).toMatchObject({ state: "succeeded", attempt: 2 });
    expect(task.hostId).not.toBe(first);
    expect(task.result?.agent).toMatchObject({
      resumedFrom: { attempt: 1, hostId: first, turns: 2 },
      // What the attempt before has used is none of its own.
      usage: { turns: 2, inputTokens: 2_000 },
      summary: "All steps are done.",
    });
    const shown = api.requests[3]?.messages ?? "";
    for (const said of ["Do all steps.", "This is step 1.", "step-1.txt", "This is step 2.", "step-2.txt"])
      expect(shown).toContain(said);
    expect(shown).toContain("you go on on another one");
    const patch = await patchOf(task);
    for (const line of ["+done 1", "+done 2", "+done 4"]) expect(patch).toContain(line);
    expect((await phasesOf(taskId)).join("\n")).toMatch(
      new RegExp(`goes on with session and work of attempt 1, which host ${first} ran, from after turn 2`),
    );
  });

  it("goes on again from where it has come to since it went on", async () => {
    api.play(step(1), "hang", step(2), "hang", DONE);
    const taskId = await deploy();
    const { hostId: first, sessionId } = await untilKept(taskId, (turns) => turns === 1);
    await preempt(taskId, first);
    const second = await untilKept(taskId, (turns) => turns > 1, 2);
    expect(second.sessionId).toBe(sessionId);
    hosts.get(first)?.keepDown(0);
    await preempt(taskId, second.hostId);
    const task = await ended(taskId);
    expect(task).toMatchObject({ state: "succeeded", attempt: 3, failures: 0 });
    const { attempt, hostId, turns } = second;
    expect(task.result?.agent?.resumedFrom).toEqual({ attempt, hostId, turns });
    const shown = api.requests.at(-1)?.messages ?? "";
    for (const said of ["This is step 1.", "This is step 2."]) expect(shown).toContain(said);
    const patch = await patchOf(task);
    for (const line of ["+done 1", "+done 2"]) expect(patch).toContain(line);
  });

  it("goes on with the last turn where its provider has failed it", async () => {
    api.play(step(1), step(2), step(3), NO_KEY);
    const taskId = await deploy();
    await until(taskId, ({ failures }) => failures > 0);
    api.play(DONE);
    const task = await ended(taskId);
    expect(task).toMatchObject({ state: "succeeded" });
    expect(task.result?.agent?.resumedFrom).toMatchObject({ attempt: 1, turns: 3 });
    expect(api.requests.at(-1)?.messages).toContain("This is step 3.");
    expect(await patchOf(task)).toContain("+done 3");
  });

  const asIs = Buffer.from(
    "diff --git a/stale.txt b/stale.txt\nnew file mode 100644\n--- /dev/null\n+++ b/stale.txt\n@@ -0,0 +1 @@\n+stale\n",
  );
  it.each<[string, string, Buffer, RegExp]>([
    ["a session that its agent does not take up", "no session\n", asIs, /did not take up session/],
    ["work that does not apply", "no session\n", Buffer.from("no patch"), /its work does not apply/],
  ])("begins afresh from %s, on a clean tree, and says so", async (_, session, patch, why) => {
    api.play(step(1), "hang", step(2), DONE);
    const taskId = await deploy();
    const kept = await untilKept(taskId, (turns) => turns === 1);
    expect(await askApi(bus, "pause", {})).toMatchObject({ ok: true });
    await preempt(taskId, kept.hostId);
    await putInItsPlace(taskId, kept, gzipSync(session), gzipSync(patch));
    expect(await askApi(bus, "resume", {})).toMatchObject({ ok: true });

    const task = await ended(taskId);
    expect(task).toMatchObject({ state: "succeeded", attempt: 2 });
    expect(task.result?.agent?.begunAfresh).toMatch(why);
    expect(task.result?.agent).not.toHaveProperty("resumedFrom");
    expect((await phasesOf(taskId)).join("\n")).toMatch(/begins afresh, and not where/);
    const shown = api.requests[2]?.messages ?? "";
    expect(shown).toContain("Do all steps.");
    expect(shown).not.toContain("This is step 1.");
    const left = await patchOf(task);
    expect(left).toContain("+done 2");
    expect(left).not.toMatch(/stale|done 1/);
  });

  async function putInItsPlace(
    taskId: string,
    { attempt, hostId, slot, ...kept }: CheckpointView,
    session: Buffer,
    patch: Buffer,
  ): Promise<void> {
    const bytes = Buffer.concat([session, patch]);
    const sizes = { sessionBytes: session.length, patchBytes: patch.length, chunks: 1 };
    const record = { ...kept, ...sizes, sha256: createHash("sha256").update(bytes).digest("hex") };
    const of = { taskId, attempt: String(attempt), hostId, slot };
    await bus.js.publish(checkpointSubject.build({ ...of, part: "chunk-0" }), bytes);
    await bus.js.publish(checkpointSubject.build({ ...of, part: "record" }), JSON.stringify(record));
  }
});
