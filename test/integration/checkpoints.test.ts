// Checkpoints that a host keeps of an agent which works: real attempts, git and nats-server, with an agent that is a shell
// script and writes its session by hand.
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { Runner } from "../../services/host-agent/runner/runner.ts";
import { findKept } from "../../services/host-agent/session/find.ts";
import { serve } from "../../shared/bus/ask.ts";
import { type Bus, connectBus } from "../../shared/bus/connect.ts";
import { API, apiSubject } from "../../shared/contracts/api.ts";
import { CHECKPOINT_PART_MAX_BYTES, type CheckpointView } from "../../shared/contracts/checkpoint.ts";
import { answer } from "../../shared/contracts/failure.ts";
import { type AttemptHost, OWN_SECRET, startAttemptHost } from "../support/attempt.ts";
import { startNats } from "../support/nats.ts";
import { makeRepository, type Repository } from "../support/repository.ts";

const DEADLINE = { timeout: 30_000, interval: 50 };
/** Prints each line of its session once that is written, and goes on when it is told something. */
const TURN = 'turn() { echo "$1" >> "$HOME/session"; echo "$1"; }; wait_for_word() { read word; };';

let script = "";
const scripted: Runner = {
  name: "scripted",
  probe: async () => ({ ok: true, version: "1" }),
  sessions: {
    fileOf: () => "session",
    read(text) {
      const lines = text.split("\n").filter((line) => line !== "");
      return { whole: lines.length === 0 ? null : { text, turns: lines.length }, toolIds: new Set(lines) };
    },
  },
  start({ session }, transport) {
    const process = transport.start(
      { argv: ["/bin/sh", "-c", `${TURN}\n${script}`], env: {}, stdin: "pipe" },
      {
        stdout: (bytes) => {
          for (const toolId of bytes.toString().split("\n"))
            if (toolId !== "") session?.onDone({ sessionId: "s1", toolId });
        },
        stderr: () => {},
      },
    );
    return {
      events: (async function* () {})(),
      say(text) {
        process.write(Buffer.from(`${text}\n`));
        return true;
      },
      interrupt: () => false,
      answer: () => false,
      outcome: process.finished.then((exit) => ({
        exit,
        failure: exit.exitCode === 0 ? null : { category: "agent", message: `exit ${exit.exitCode}` },
      })),
    };
  },
};

let host: AttemptHost;
let repository: Repository;
beforeAll(async () => {
  host = await startAttemptHost({ runners: [scripted] });
  repository = makeRepository();
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  repository[Symbol.dispose]();
});
afterEach(() => host.seeNothingLeft());

const start = (lines: string) => {
  script = lines;
  return host.start(repository, { runner: "scripted", prompt: "Work." });
};
/** Of the host's own git folder of the tree that is worked on. */
const objectsOf = async (taskId: string): Promise<string[]> => {
  const folder = path.join(host.folder, "attempts", `${taskId}.1`, "work", "git", "objects");
  return (await readdir(folder, { recursive: true })).sort();
};
const untilTold = (taskId: string, words: RegExp) =>
  vi.waitUntil(async () => (await host.chunks(taskId)).some(({ text }) => words.test(text)), DEADLINE);

describe("checkpoints of an attempt", () => {
  it("follow its turns, and leave its own work, index and end as they are", async () => {
    const attempt = start(`
      echo one > one.txt; turn first; wait_for_word
      git add one.txt; echo two > two.txt; turn second; wait_for_word
      test "$(git status --porcelain | tr '\\n' ' ')" = "A  one.txt ?? two.txt "`);
    const { taskId } = attempt;
    const first = await vi.waitUntil(() => host.checkpoint(taskId), DEADLINE);
    expect(first).toMatchObject({
      turns: 1,
      sessionId: "s1",
      runner: "scripted",
      workTree: "/srv/mesh/work",
    });
    const objects = await objectsOf(taskId);
    expect(objects.length).toBeGreaterThan(0);
    attempt.run()?.say("on");
    expect(first.session).toBe("first\n");
    const second = await vi.waitUntil(async () => {
      const kept = await host.checkpoint(taskId);
      return kept?.turns === 2 ? kept : null;
    }, DEADLINE);
    expect(second.slot).not.toBe(first.slot);
    expect(await objectsOf(taskId)).toEqual(objects);
    expect(second.sha256).not.toBe(first.sha256);
    attempt.run()?.say("on");
    expect(await attempt.ended).toMatchObject({ ok: true, failure: null });
    const patch = Buffer.concat(await host.artifact(taskId, "patch")).toString();
    expect(patch).toContain("+one");
    expect(patch).toContain("+two");
  });

  it("wait for what their agent has told and not written down yet", async () => {
    const attempt = start('echo first; wait_for_word; echo first >> "$HOME/session"; wait_for_word');
    await vi.waitUntil(async () => attempt.run() !== null, DEADLINE);
    expect(await host.checkpoint(attempt.taskId)).toBeNull();
    attempt.run()?.say("on");
    await vi.waitUntil(() => host.checkpoint(attempt.taskId), DEADLINE);
    attempt.run()?.say("on");
    expect(await attempt.ended).toMatchObject({ ok: true });
  });

  const pointer = `version https://git-lfs.github.com/spec/v1\\noid sha256:${"a".repeat(64)}\\nsize 1\\n`;
  it.each([
    ["a secret of the host", `echo ${OWN_SECRET} > leak.txt`, "rm leak.txt", /its work holds a secret/],
    ["files of Git LFS", `printf '${pointer}' > big.bin`, "rm big.bin", /its work has files of Git LFS/],
    [
      "more than they may be",
      "head -c 40000000 /dev/urandom > random",
      "rm random",
      /its work has more than \d+ bytes/,
    ],
  ])("are not kept of work with %s, which the log says, and it goes on", async (_, make, unmake, words) => {
    const attempt = start(`${make}; turn first; wait_for_word; ${unmake}; echo fine > fine.txt`);
    await untilTold(attempt.taskId, words);
    expect(await host.checkpoint(attempt.taskId)).toBeNull();
    attempt.run()?.say("on");
    expect(await attempt.ended).toMatchObject({ ok: true, failure: null });
  });

  it("have secrets taken out of the session", async () => {
    const attempt = start(`turn "first ${OWN_SECRET}"; wait_for_word`);
    const kept = await vi.waitUntil(() => host.checkpoint(attempt.taskId), DEADLINE);
    expect(kept).toMatchObject({ turns: 1, session: "first [redacted]\n" });
    attempt.run()?.say("on");
    expect(await attempt.ended).toMatchObject({ ok: true });
  });
});

describe("what an earlier attempt has kept", () => {
  const own = { sha: "a".repeat(40), runner: "claude-code", workTree: "/srv/mesh/work" } as const;
  let stack: AsyncDisposableStack;
  let bus: Bus;
  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    const nats = stack.use(await startNats());
    bus = stack.use(await connectBus({ url: nats.url, name: "test" }));
  });
  afterAll(() => stack.disposeAsync());
  const find = (signal: AbortSignal) => findKept(bus, { taskId: "t1", attempt: 2 }, own, signal);

  it("is waited for while no tracker answers, as when that has just begun anew", async () => {
    const found = find(new AbortController().signal);
    // Longer than it takes to be told several times that nobody is there.
    await delay(3_000);
    const subject = apiSubject.build({ verb: "checkpoint" });
    const serving = serve(bus, subject, API.checkpoint.request, () => answer({ checkpoint: null }), {
      onBug: (error) => {
        throw error;
      },
    });
    expect(await found).toEqual({ ok: true, kept: null });
    serving.unsubscribe();
  });

  const session = gzipSync("a session\n");
  const patch = gzipSync("a patch\n");
  const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
  /** What a tracker says of it, and hands over of it. */
  async function findOf(more: Partial<CheckpointView>, bytes: Buffer = Buffer.concat([session, patch])) {
    const checkpoint: CheckpointView = {
      ...own,
      ...{ attempt: 1, hostId: "h1", slot: "a", sessionId: "s1", turns: 3, chunks: 1 },
      ...{ sessionBytes: session.length, patchBytes: patch.length, sha256: digest(bytes) },
      ...more,
    };
    const answers = {
      checkpoint: () => answer({ checkpoint }),
      checkpointChunk: () => answer({ base64: bytes.toString("base64") }),
    };
    await using serving = new AsyncDisposableStack();
    for (const verb of ["checkpoint", "checkpointChunk"] as const) {
      const subject = apiSubject.build({ verb });
      const { unsubscribe } = serve(bus, subject, API[verb].request, answers[verb], { onBug: () => {} });
      serving.defer(unsubscribe);
    }
    return await find(new AbortController().signal);
  }

  it("is what it was, and whose", async () => {
    const kept = { attempt: 1, hostId: "h1", sessionId: "s1", turns: 3 };
    expect(await findOf({})).toEqual({
      ok: true,
      kept: { ...kept, session: Buffer.from("a session\n"), patch: Buffer.from("a patch\n") },
    });
  });

  const bomb = gzipSync(Buffer.alloc(CHECKPOINT_PART_MAX_BYTES + 1));
  it.each<[string, Partial<CheckpointView>, Buffer | undefined, RegExp]>([
    ["is of another commit", { sha: "b".repeat(40) }, undefined, /of sha b+, not a+/],
    ["is of another agent", { runner: "codex" }, undefined, /of runner codex/],
    ["lay elsewhere", { workTree: "/home/x" }, undefined, /of workTree \/home\/x/],
    ["was damaged on its way", { sha256: "0".repeat(64) }, undefined, /not what its record says/],
    ["was cut in the wrong place", { sessionBytes: 5 }, undefined, /unexpected end of file|incorrect header/],
    ["is larger than it may be", { sessionBytes: bomb.length }, Buffer.concat([bomb, patch]), /larger than/],
  ])("is not gone on with where it %s", async (_, more, bytes, problem) => {
    expect(await findOf(more, bytes)).toEqual({ ok: false, problem: expect.stringMatching(problem) });
  });

  it("is waited for no longer once its attempt is to end", async () => {
    const ending = new AbortController();
    const found = find(ending.signal);
    ending.abort(new Error("stopped"));
    await expect(found).rejects.toThrow("stopped");
  });
});
