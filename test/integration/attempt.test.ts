// One attempt from its order to its outcome, with a real guest supervisor, git and nats-server: what it says on the
// way, what it is judged by, what it leaves on the bus, and that it leaves nothing else.
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { LOG_HEAD_BYTES, LOG_TAIL_BYTES } from "../../services/host-agent/attempt/log-sink.ts";
import { Stop } from "../../services/host-agent/held/executor.ts";
import type { LogChunk } from "../../shared/contracts/log.ts";
import { type AttemptHost, OWN_SECRET, startAttemptHost } from "../support/attempt.ts";
import { rememberPassword, startGitServer, startSilentServer } from "../support/git-server.ts";
import { untilGone } from "../support/mesh-program.ts";
import { makeRepository, type Repository } from "../support/repository.ts";

let host: AttemptHost;
let repository: Repository;
beforeAll(async () => {
  repository = makeRepository({
    files: { "sum.sh": "echo $(($1 - $2))\n", ".gitignore": "*.log\n" },
  });
  host = await startAttemptHost();
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  repository[Symbol.dispose]();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  const left = await host.folders();
  if (left.length > 0) throw new Error(`attempts left their folders: ${left.join(" ")}`);
});

const FIX = "echo 'echo $(($1 + $2))' > sum.sh";
const CHECK = 'test "$(sh sum.sh 2 3)" = 5';
const command = (text: string, env: Record<string, string> = {}) => ({ run: { command: text, env } });
/** Phases, and output with what belongs together put together. */
function story(chunks: LogChunk[]): string[] {
  const told: { source: string; text: string }[] = [];
  for (const { source, text, phase } of chunks) {
    const last = told.at(-1);
    if (source === "phase") told.push({ source: phase ?? "", text: "" });
    else if (last?.source === source) last.text += text;
    else told.push({ source, text });
  }
  return told.map(({ source, text }) => (text === "" ? source : `${source}: ${text}`));
}
const bytesOf = async (taskId: string, name: string) => Buffer.concat(await host.artifact(taskId, name));

describe("an attempt that goes well", () => {
  it("tells its phases and output in order, and what came of it", async () => {
    const { taskId, ...ended } = await host.run(repository, {
      ...command(`echo begin; ${FIX}; echo done`),
      checks: [`echo checking; ${CHECK}`, ["true"]],
    });
    expect(ended).toMatchObject({
      ok: true,
      failure: null,
      result: {
        exitCode: 0,
        signal: null,
        checks: [
          { command: `echo checking; ${CHECK}`, exitCode: 0, verdict: "confirmed", log: "check-1" },
          { command: ["true"], exitCode: 0, verdict: "confirmed", log: "check-2" },
        ],
      },
    });
    const { prepareMs = 0, runMs = 0, validateMs = 0 } = ended.result?.phases ?? {};
    expect(Math.min(prepareMs, runMs, validateMs)).toBeGreaterThan(0);
    expect(ended.result?.durationMs).toBeGreaterThanOrEqual(prepareMs + validateMs);
    expect(story(await host.chunks(taskId))).toEqual([
      "preparing",
      "preparing",
      "running",
      "stdout: begin\ndone\n",
      "collecting",
      "validating",
      "validating",
      "check: checking\n",
      "validating",
    ]);
  });

  it("leaves artifacts on the bus that are what the manifest says", async () => {
    const { taskId, result } = await host.run(repository, {
      ...command(`${FIX}; head -c 1500000 /dev/zero | tr '\\0' a; echo problem >&2`),
      checks: ["echo looked"],
    });
    const artifacts = result?.artifacts ?? [];
    expect(artifacts.map(({ name }) => name)).toEqual(["log", "patch", "bundle", "check-1", "result"]);
    for (const { name, size, sha256, chunks } of artifacts) {
      const messages = await host.artifact(taskId, name);
      const bytes = Buffer.concat(messages);
      const found = { size: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
      expect([name, { ...found, chunks: messages.length }]).toEqual([name, { size, sha256, chunks }]);
    }
    const { durationMs, exitCode, checks } = JSON.parse((await bytesOf(taskId, "result")).toString()) as {
      durationMs: number;
      exitCode: number;
      checks: unknown;
    };
    expect({ durationMs, exitCode, checks }).toEqual({
      durationMs: result?.durationMs,
      exitCode: 0,
      checks: result?.checks,
    });
    expect((await bytesOf(taskId, "patch")).toString()).toMatch(/^-echo .*\n\+echo /m);
    expect((await bytesOf(taskId, "check-1")).toString()).toBe("looked\n");
    const log = (await bytesOf(taskId, "log")).toString();
    expect(log.replace("problem\n", "")).toBe("a".repeat(1_500_000));
  });

  it("leaves its work as a bundle too: one commit on the one that it began with", async () => {
    const work = `${FIX}; mkdir new; echo x > "new/a file"; chmod +x sum.sh; git commit -qam "not this one" || true`;
    const { taskId } = await host.run(repository, command(work));
    const bundle = path.join(host.folder, "work.bundle");
    await writeFile(bundle, await bytesOf(taskId, "bundle"));
    repository.git("fetch", "-q", bundle, `mesh/${taskId}`);
    expect(repository.git("rev-parse", "FETCH_HEAD^")).toBe(repository.headSha);
    const patch = (await bytesOf(taskId, "patch")).toString();
    expect(repository.git("diff", "--binary", "--full-index", "FETCH_HEAD^", "FETCH_HEAD")).toBe(
      patch.trim(),
    );
    expect(repository.git("log", "-1", "--format=%an %s", "FETCH_HEAD")).toBe(
      `agent-mesh Work of task ${taskId}`,
    );
  });

  it("keeps secrets out of all it says and leaves, even one that comes in pieces", async () => {
    const inPieces = "printf 'key sk-ant-'; sleep 0.1; printf 'api03-abc\\n'";
    const { taskId, result } = await host.run(repository, {
      ...command(`${inPieces}; echo ${OWN_SECRET} >&2`),
      checks: ["echo ghp_" + "a1".repeat(18)],
    });
    const told = (await host.chunks(taskId)).map(({ text }) => text).join("");
    const left = result?.artifacts.filter(({ name }) => name !== "patch") ?? [];
    const kept = await Promise.all(left.map(({ name }) => bytesOf(taskId, name)));
    for (const text of [told, Buffer.concat(kept).toString()]) {
      expect(text).toContain("key [redacted]\n");
      expect(text).not.toMatch(/sk-ant-\w|a-secret-of|ghp_/);
    }
  });

  it("does not keep a patch that holds a secret of the host", async () => {
    const { taskId, failure } = await host.run(repository, command(`echo ${OWN_SECRET} > stolen.txt`));
    expect(failure).toEqual({
      category: "agent",
      message: "the patch holds a secret of this host, and is not kept",
    });
    expect((await bytesOf(taskId, "patch")).length).toBe(0);
  });

  it("runs nothing of its own before the log has accepted it", async () => {
    const { taskId, ended, release } = host.start(repository, command("echo acting"), { held: true });
    await vi.waitUntil(async () => (await host.chunks(taskId)).length > 0, { timeout: 30_000 });
    expect(story(await host.chunks(taskId))).not.toContain("running");
    release();
    expect((await ended).ok).toBe(true);
    expect(story(await host.chunks(taskId))).toContain("stdout: acting\n");
  });

  it("has nothing to run where the request names no command, and is checked all the same", async () => {
    const { failure, result } = await host.run(repository, { checks: [CHECK] });
    expect(failure).toMatchObject({ category: "gate" });
    expect(result).toMatchObject({ exitCode: null, checks: [{ verdict: "refuted" }] });
  });
});

describe("checks", () => {
  it("see a fresh tree at the commit with the patch, and nothing else of the work", async () => {
    const leavings = "echo x > left.log; echo x > $HOME/left; git config core.editor mine; git tag mine";
    const { failure } = await host.run(repository, {
      ...command(
        `${FIX}; echo new > new.txt; ${leavings}; git -c user.name=x -c user.email=x@y commit -qam x`,
      ),
      checks: [
        CHECK,
        'test "$(cat new.txt)" = new',
        "test ! -e left.log",
        "test ! -e $HOME/left",
        `test "$(git rev-parse HEAD)" = ${repository.headSha}`,
        'test -z "$(git tag)$(git config core.editor)"',
        "touch made-by-a-check",
      ],
    });
    expect(failure).toBeNull();
  });

  it("that refute the work fail it as category gate, each with its verdict and output", async () => {
    const { taskId, failure, result } = await host.run(repository, {
      ...command("true"),
      checks: ["true", "echo no >&2; exit 4", "no-such-program-here"],
    });
    expect(failure).toEqual({
      category: "gate",
      message:
        "check `echo no >&2; exit 4` exited 4; check `no-such-program-here` could not be run (exit 127)",
    });
    expect(result?.checks.map(({ exitCode, verdict }) => [exitCode, verdict])).toEqual([
      [0, "confirmed"],
      [4, "refuted"],
      [127, "inconclusive"],
    ]);
    expect((await bytesOf(taskId, "check-2")).toString()).toBe("no\n");
  });

  it("are not run on work that has failed; its patch is kept", async () => {
    const { taskId, failure, result } = await host.run(repository, {
      ...command("echo half > half.txt; exit 3"),
      checks: ["true"],
    });
    expect(failure).toEqual({ category: "agent", message: "the command exited 3" });
    expect(result).toMatchObject({ exitCode: 3, checks: [] });
    expect((await bytesOf(taskId, "patch")).toString()).toContain("+half");
  });
});

describe("what a command sees of its host", () => {
  it("is the task, the host's name, what was given, and nothing secret", async () => {
    const given = { GIVEN: "a b", MESH_TASK_ID: "forged", MESH_HOST_ID: "forged" };
    const words = "env | cut -d= -f1 | sort";
    const named = await host.run(repository, command(words, given));
    const names = (await bytesOf(named.taskId, "log")).toString().trim().split("\n");
    const optional = ["LANG", "LC_ALL", "TMPDIR", "TZ"];
    // The shell's own, and the marks by which the supervisor finds what it has started.
    const others = /^(OLDPWD|PWD|SHLVL|_|MESH_SUPERVISOR_[A-Z]+)$/;
    expect(names.filter((name) => !optional.includes(name) && !others.test(name))).toEqual([
      "CARGO_HOME",
      "GIVEN",
      "GOMODCACHE",
      "HOME",
      "MESH_ATTEMPT",
      "MESH_HOST_ID",
      "MESH_TASK_ID",
      "PATH",
      "XDG_CACHE_HOME",
      "npm_config_cache",
    ]);
    const told = await host.run(
      repository,
      command('echo "$MESH_TASK_ID $MESH_ATTEMPT $MESH_HOST_ID $GIVEN"', given),
    );
    expect((await bytesOf(told.taskId, "log")).toString()).toBe(`${told.taskId} 1 h1 a b\n`);
  });

  it("is not the password that its repository was cloned with", async () => {
    const login = { user: "alice", password: "hunter2-swordfish" };
    await using server = await startGitServer(path.dirname(repository.path), login);
    await rememberPassword(host.folder, server, login);
    const words =
      "env; git config --list --show-origin; git ls-remote origin || echo refused; grep -r . .git";
    const { taskId, failure } = await host.run(repository, {
      ...command(words),
      checks: [words],
      cloneUrl: `${server.url}/origin.git`,
    });
    expect(failure).toBeNull();
    for (const name of ["log", "patch", "check-1", "result"])
      expect([name, (await bytesOf(taskId, name)).includes(login.password)]).toEqual([name, false]);
    expect((await bytesOf(taskId, "log")).toString()).toContain("refused");
    expect(JSON.stringify(await host.chunks(taskId))).not.toContain(login.password);
  });

  it("is the same path in every instance, where namespaces allow it", async ({ skip }) => {
    if (host.hello.isolation === "process-group") skip("this machine has no namespaces");
    const { taskId } = await host.run(repository, {
      ...command("pwd; echo $HOME"),
      checks: ["pwd; echo $HOME"],
    });
    for (const name of ["log", "check-1"])
      expect((await bytesOf(taskId, name)).toString()).toBe("/srv/mesh/work\n/srv/mesh/home\n");
  });
});

/** Enough for the check-outs of an attempt as this machine is at the moment, and hardly more, ms. */
async function shortTime(): Promise<number> {
  const { result } = await host.run(repository);
  return Math.ceil(2_000 + 10 * (result?.phases.prepareMs ?? 0));
}

describe("an attempt that fails", () => {
  it("is category timeout when its command takes too long, and nothing of it runs on", async () => {
    const sleep = `sleep 98${process.pid}`;
    const { failure, result } = await host.run(repository, {
      ...command(`echo on; ${sleep}`),
      timeoutMs: await shortTime(),
    });
    expect(failure).toMatchObject({ category: "timeout" });
    expect(result?.artifacts.map(({ name }) => name)).toEqual(["log", "patch", "result"]);
    expect(await untilGone(sleep)).toEqual([]);
  });

  it("is category timeout when a check takes too long, and when the remote hangs", async () => {
    const checked = await host.run(repository, {
      ...command("true"),
      checks: ["sleep 60"],
      timeoutMs: await shortTime(),
    });
    expect(checked.failure).toEqual({
      category: "timeout",
      message: "check 1 took longer than the task may",
    });
    await using silent = await startSilentServer();
    const hung = await host.run(repository, { cloneUrl: silent.url, timeoutMs: 1_000 });
    expect(hung.failure).toEqual({
      category: "timeout",
      message: "checking out took longer than the task may",
    });
  });

  it("is category resource when it uses more memory than it may", async ({ skip }) => {
    if (host.hello.limits.memory !== "control-group") skip("this machine gives no memory control groups");
    const { failure, result } = await host.run(repository, {
      ...command("head -c 400000000 /dev/zero | tail -n 1 | wc -c"),
      limits: { memoryBytes: 64 * 1_048_576 },
    });
    expect(failure).toMatchObject({ category: "resource" });
    expect(failure?.message).toContain("more memory than it may");
    expect(result?.peakMemoryBytes).toBeGreaterThan(32 * 1_048_576);
    expect(result?.peakMemoryBytes).toBeLessThanOrEqual(64 * 1_048_576);
  });

  it("is category source when the commit is nowhere, for good", async () => {
    const { failure, result } = await host.run(repository, { sha: "f".repeat(40) });
    expect(failure).toMatchObject({ category: "source", permanent: true });
    expect(result?.artifacts.map(({ name }) => name)).toEqual(["result"]);
  });

  it("says which program is not there", async () => {
    const { taskId, failure } = await host.run(repository, { run: { command: ["no-such-program-here"] } });
    expect(failure).toEqual({ category: "agent", message: "the command exited 127" });
    expect((await bytesOf(taskId, "log")).toString()).toContain("no-such-program-here");
  });

  it("is told by its command's end, even where no patch can be taken", async () => {
    const noPatch = "echo '*.txt working-tree-encoding=UTF-16' > .gitattributes; echo no-such > a.txt";
    expect((await host.run(repository, command(`${noPatch}; exit 3`))).failure).toEqual({
      category: "agent",
      message: "the command exited 3",
    });
    const { failure } = await host.run(repository, command(noPatch));
    expect(failure?.message).toContain("the patch could not be taken: ");
  });

  it("is none for a repository inside the tree, which the patch leaves out and the log names", async () => {
    const { taskId, failure } = await host.run(repository, command("git init -q inner; echo x > inner/x"));
    expect(failure).toBeNull();
    expect((await host.chunks(taskId)).map(({ text }) => text)).toContain(
      "left out of the patch: inner is a repository of its own",
    );
  });
});

describe("an attempt that is stopped", () => {
  it("ends with all it has started, leaves nothing, and says why", async () => {
    const sleep = `sleep 96${process.pid}`;
    const { taskId, ended, stop } = host.start(
      repository,
      command(`(setsid ${sleep} &) ; echo on; ${sleep}`),
    );
    await vi.waitUntil(async () => story(await host.chunks(taskId)).includes("stdout: on\n"), {
      timeout: 30_000,
    });
    const reason = new Stop({ category: "cancelled", message: "the task was cancelled" });
    stop(reason);
    expect(await ended).toMatchObject({ ok: false, failure: reason.failure });
    expect(await untilGone(sleep)).toEqual([]);
  });

  it("while its remote hangs, ends at once", async () => {
    await using silent = await startSilentServer();
    const { ended, stop } = host.start(repository, { cloneUrl: silent.url });
    await vi.waitUntil(() => silent.callers() > 0, { timeout: 30_000 });
    stop(new Stop("dropped"));
    await expect(ended).rejects.toBeInstanceOf(Stop);
    expect(await untilGone(silent.url)).toEqual([]);
  });
});

describe("output", () => {
  it("of any bytes is kept as it was, and told as text", async () => {
    const { taskId } = await host.run(
      repository,
      command("printf '\\000\\001\\377\\033[31m\\303'; printf '\\251 no newline'"),
    );
    const bytes = Buffer.from([0, 1, 255, ...Buffer.from("\u001b[31mé no newline")]);
    expect(await bytesOf(taskId, "log")).toEqual(bytes);
    expect(story(await host.chunks(taskId))).toContain(`stdout: ${bytes.toString()}`);
  });

  it("of more than is kept has a gap, said to be there, between its head and its end, and keeps nobody waiting", async () => {
    const { taskId, failure, result } = await host.run(repository, {
      ...command("echo the beginning; head -c 40000000 /dev/zero | tr '\\0' a; echo the end"),
      checks: ["head -c 100000 /dev/zero | tr '\\0' b; echo of the check"],
    });
    expect(failure).toBeNull();
    const log = (await bytesOf(taskId, "log")).toString();
    expect(log).toMatch(/^the beginning\na+\n\[(\d+) bytes are left out here\]\na+the end\n$/);
    const leftOut = Number(/\[(\d+) bytes/.exec(log)?.[1]);
    expect(log.length - `\n[${leftOut} bytes are left out here]\n`.length + leftOut).toBe(
      "the beginning\n".length + 40_000_000 + "the end\n".length,
    );
    expect(log.length).toBeLessThan(LOG_HEAD_BYTES + LOG_TAIL_BYTES + 100);
    // The whole attempt has one head, and each of its processes an end.
    expect(await bytesOf(taskId, "check-1")).toHaveLength(
      "\n[34477 bytes are left out here]\n".length + LOG_TAIL_BYTES,
    );
    const sizes = (result?.artifacts ?? []).map(({ size }) => size);
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(LOG_HEAD_BYTES + 2 * LOG_TAIL_BYTES + 2_000);

    const chunks = await host.chunks(taskId);
    const told = chunks.filter(({ source }) => source === "stdout");
    expect(told.reduce((sum, { text }) => sum + text.length, 0)).toBe(LOG_HEAD_BYTES + LOG_TAIL_BYTES);
    expect(told.at(-1)?.text.endsWith("the end\n")).toBe(true);
    expect(
      chunks
        .filter(({ source }) => source === "check")
        .at(-1)
        ?.text.endsWith("of the check\n"),
    ).toBe(true);
    const gaps = chunks.filter(({ phase }) => phase === "truncated").map(({ text }) => text);
    expect(gaps).toEqual([
      expect.stringContaining(`more than ${LOG_HEAD_BYTES} bytes`),
      `${leftOut} bytes are left out here`,
      "34477 bytes are left out here",
    ]);
  });
});
