// `mesh deploy --wait` on a mesh of one process with real hosts, real git and real commands: what a task's end means
// for the one who waits.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  DEMO_COMMAND,
  type DemoRepository,
  makeDemoRepository,
} from "../../services/cli/up/demo-repository.ts";
import type { TaskView } from "../../shared/contracts/task.ts";
import { type Ended, runMesh, startUp, type UpMesh, untilGone } from "../support/mesh-program.ts";

let up: UpMesh;
let folder: string;
let repository: DemoRepository;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "mesh-repo-"));
  repository = await makeDemoRepository(folder);
  up = await startUp(["--hosts", "2"]);
});
afterAll(async () => {
  await up[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const deploy = (
  more: string[],
  command: string[],
  overrides: Partial<DemoRepository> = {},
): Promise<Ended> => {
  const { cloneUrl, branch, sha } = { ...repository, ...overrides };
  return up.mesh([
    "deploy",
    "--repo",
    cloneUrl,
    "--pr-branch",
    branch,
    "--sha",
    sha,
    ...more,
    "--",
    ...command,
  ]);
};
const viewOf = ({ stdout }: Ended): TaskView => JSON.parse(stdout) as TaskView;

describe("mesh deploy --wait", () => {
  it("exits 0 for a success, with the whole result in one line of JSON", async () => {
    const ended = await deploy(["--wait", "--json", "--check", "sh ./test.sh", "--pr", "7"], [DEMO_COMMAND]);
    expect(ended.code).toBe(0);
    expect(ended.stdout.split("\n")).toHaveLength(2);
    const task = viewOf(ended);
    expect(task).toMatchObject({
      type: "pr_deployment",
      state: "succeeded",
      priority: "normal",
      attempt: 1,
      repository: "acme/shop",
      branch: repository.branch,
      sha: repository.sha,
      prNumber: 7,
      failure: null,
      result: { exitCode: 0, checks: [{ command: "sh ./test.sh", exitCode: 0, verdict: "confirmed" }] },
    });
    expect(task.hostId).toMatch(/^local-[12]$/);
    expect(task.result?.artifacts.map(({ name }) => name)).toContain("patch");
    const given: unknown = await (await fetch(`${up.ready.httpUrl}/v1/tasks/${task.taskId}`)).json();
    expect(task).toEqual(given);
    expect(ended.stderr).toMatch(
      /queued[^]*attempt 1 begins on local-[^]*FAIL {2}10 pieces[^]*succeeded on local-/,
    );
  });

  it("prints for a person when and where it ran, over HTTP as over NATS", async () => {
    for (const url of [up.ready.httpUrl, up.ready.natsUrl]) {
      const { code, stdout } = await deploy(["--wait", "--quiet", "--url", url], ["true"]);
      expect(code).toBe(0);
      expect(stdout).toMatch(/^succeeded[^]*host +local-[12] \(attempt 1[^]*times[^]*exit +0/);
    }
  });

  it("exits 1 when the command fails, with its exit code and the category", async () => {
    const ended = await deploy(["--wait", "--json", "--max-attempts", "1"], ["echo broken >&2; exit 3"]);
    expect(ended.code).toBe(1);
    expect(viewOf(ended)).toMatchObject({
      state: "failed",
      failure: { category: "agent" },
      result: { exitCode: 3 },
    });
    expect(ended.stderr).toContain("| broken");
  });

  it("exits 1 when a check refutes the work, and says which", async () => {
    const checks = ["--check", "true", "--check", "sh ./test.sh"];
    const ended = await deploy(["--wait", "--json", "--max-attempts", "1", ...checks], ["true"]);
    expect(ended.code).toBe(1);
    expect(viewOf(ended)).toMatchObject({
      state: "failed",
      failure: { category: "gate" },
      result: {
        exitCode: 0,
        checks: [{ verdict: "confirmed" }, { command: "sh ./test.sh", verdict: "refuted" }],
      },
    });
  });

  it("exits 1 for a commit that is nowhere to be had", async () => {
    const ended = await deploy(["--wait", "--json"], ["true"], { sha: "f".repeat(40) });
    expect(ended.code).toBe(1);
    expect(viewOf(ended)).toMatchObject({ state: "failed", failure: { category: "source" } });
  });

  it("ends what runs when the task is cancelled", async () => {
    const sleep = `sleep 97${process.pid}`;
    const waiting = deploy(["--wait", "--json", "--task-id", "sleeper"], [`echo asleep; ${sleep}`]);
    const logs = up.mesh(["logs", "sleeper", "--follow"]);
    let seen = "";
    while (!seen.includes("asleep")) seen = (await up.mesh(["logs", "sleeper"])).stdout;
    expect((await up.mesh(["cancel", "sleeper", "--reason", "enough"])).code).toBe(0);
    const ended = await waiting;
    expect(ended.code).toBe(1);
    expect(viewOf(ended)).toMatchObject({ state: "cancelled", reason: "enough" });
    expect(await untilGone(sleep)).toEqual([]);
    await logs;
  });
});

describe("what a task has said", () => {
  it("is printed plain: no escape sequence reaches the terminal", async () => {
    const evil = "printf '\\033]0;owned\\007\\033[31mred\\033[0m\\rback\\n'";
    const task = viewOf(await deploy(["--wait", "--json"], [evil]));
    const { code, stdout, stderr } = await up.mesh(["logs", task.taskId]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "red\nback\n" });
    expect(stderr).toMatch(/── local-[12], attempt 1/);
    const lines = (await up.mesh(["logs", task.taskId, "--json"])).stdout.trim().split("\n");
    const chunks = lines.map((line) => JSON.parse(line) as { source: string; text: string; attempt: number });
    expect(chunks.find(({ source }) => source === "stdout")?.text).toContain("\u001b[31mred");
  });

  it("sees the task's environment and what was given, over a retry too", async () => {
    const words = 'echo "$MESH_TASK_ID $MESH_ATTEMPT $MESH_HOST_ID $GIVEN"';
    const first = viewOf(await deploy(["--wait", "--json", "--env", "GIVEN=a b"], [words]));
    const again = viewOf(await up.mesh(["retry", first.taskId, "--wait", "--json"]));
    expect(again).toMatchObject({ state: "succeeded", retryOf: first.taskId });
    const { stdout } = await up.mesh(["logs", again.taskId, "--follow"]);
    expect(stdout).toBe(`${again.taskId} 1 ${again.hostId} a b\n`);
  });

  it("is explained: the host and why", async () => {
    const task = viewOf(await deploy(["--wait", "--json"], ["true"]));
    const { stdout } = await up.mesh(["explain", task.taskId]);
    expect(stdout).toContain(task.hostId);
    expect(stdout).toMatch(/hosts +2 looked at, 2 could take it/);
  });
});

describe("mesh demo", () => {
  it("does the main job from nothing, and leaves nothing", async () => {
    const temporary = await mkdtemp(path.join(tmpdir(), "mesh-demo-test-"));
    const { code, stdout, stderr } = await runMesh(["demo"], {
      env: { TMPDIR: temporary, NATS_URL: "nats://127.0.0.1:9" },
    });
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(
      /Submitted as task[^]*succeeded[^]*host +local-[123][^]*times[^]*patch, \d+ bytes: 1 file changed/,
    );
    expect(await untilGone(temporary)).toEqual([]);
    await rm(temporary, { recursive: false, force: true }).catch(() => {});
    await expect(import("node:fs/promises").then(({ rmdir }) => rmdir(temporary))).resolves.toBeUndefined();
  });

  it.each([
    ["git", { PATH: "/nowhere" }, "git is not on PATH"],
    [
      "a nats-server",
      { NATS_SERVER_BIN: "/nowhere/nats-server" },
      "NATS_SERVER_BIN names /nowhere/nats-server",
    ],
  ])("without %s says so, exits 1, and leaves nothing", async (_, env, words) => {
    const temporary = await mkdtemp(path.join(tmpdir(), "mesh-demo-test-"));
    const { code, stdout, stderr } = await runMesh(["demo"], {
      env: { TMPDIR: temporary, ...env },
      node: process.execPath,
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(words);
    expect(stderr).not.toMatch(/^ {4}at /m);
    expect(await readdir(temporary)).toEqual([]);
    await rm(temporary, { recursive: true });
  });
});
