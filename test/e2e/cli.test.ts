// The program `mesh` as a user runs it, against a mesh without hosts: usage, errors, and the shapes of its answers.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectBus } from "../../shared/bus/connect.ts";
import { leaveBehind, say, sayStarted } from "../support/gateway.ts";
import { runMesh, startProgram, startUp, type UpMesh } from "../support/mesh-program.ts";

const SHA = "0123456789abcdef0123456789abcdef01234567";
const DEPLOY = ["deploy", "--repo", "acme/shop", "--pr-branch", "fix", "--sha", SHA];

let up: UpMesh;
beforeAll(async () => {
  up = await startUp(["--hosts", "0"]);
});
afterAll(() => up[Symbol.asyncDispose]());

const submitted = async (...more: string[]): Promise<string> => {
  const { stdout } = await up.mesh([...DEPLOY, "--json", ...more, "--", "true"]);
  return (JSON.parse(stdout) as { taskId: string }).taskId;
};

describe("usage", () => {
  it.each([
    [["--help"], /Commands:/],
    [["deploy", "--help"], /--pr-branch/],
    [["simulate", "--help"], /slowdown .*OOM\/1000 .*mesh simulate --trace/s],
    [["--version"], /^\d+\.\d+\.\d+/],
  ])("%j is answered on stdout with exit 0", async (args, words) => {
    const { code, stdout, stderr } = await runMesh(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(words);
  });

  it.each([
    [[], /Usage/],
    [["deploi"], /Did you mean deploy/],
    [["tasks", "--frob"], /unknown option '--frob'/],
    [["tasks", "--state", "sleeping"], /state: /],
    [["tasks", "surplus"], /too many arguments/],
    [["task"], /missing required argument/],
    [["cancel"], /expected one of/],
    [["cancel", "a", "--pr", "a/b#1"], /expected one of/],
    [["cancel", "--pr", "a/b"], /owner\/name#N/],
    [["deploy"], /--repo, --pr-branch, --sha missing/],
    [[...DEPLOY, "true"], /after "--"/],
    [[...DEPLOY, "--memory", "lots", "--", "true"], /--memory: expected a size/],
    [[...DEPLOY, "--priority", "urgent", "--", "true"], /priority/],
    [["deploy", "--file", "/nowhere.json"], /--file: /],
    [["deploy", "--file", "-", "--sha", SHA], /--sha and --file/],
    [[...DEPLOY, "--prompt", "Fix it", "--", "true"], /run and prompt exclude each other/],
    [[...DEPLOY, "--prompt", "Fix it", "--prompt-file", "-"], /--prompt and --prompt-file/],
    [[...DEPLOY, "--prompt-file", "/nowhere.md"], /--prompt-file: /],
    [["say", "one"], /expected one of: a text/],
    [["say", "one", "Hi", "--allow", "a"], /expected one of: a text/],
    [["retry"], /expected one of a task's id and --all/],
    [["retry", "one", "--all"], /expected one of a task's id and --all/],
    [["retry", "--all", "--category", "bad luck"], /category: /],
    [["retry", "one", "--category", "host"], /go with --all/],
    [["dead", "--category", "bad luck"], /category: /],
    [["hosts", "--url", "ftp://x"], /--url: expected http/],
    [["drain", "h1", "--wait", "--deadline", "soon"], /--deadline: expected a duration/],
    [["stop"], /expected one of a host's id and --service/],
    [["stop", "h1", "--service", "gateway"], /expected one of a host's id and --service/],
    [["stop", "--service", "host-agent"], /--service: expected scheduler/],
    [["stop", "h1", "--deadline", "soon"], /--deadline: expected a duration/],
    [["stop", "h1", "--instance", "x"], /--instance: goes with --service/],
    [["pause", "everything"], /too many arguments/],
    [["up", "--hosts", "many"], /--hosts: expected a whole number/],
    [["up", "--http-port", "70000"], /--http-port/],
    [["simulate", "--policy", "luck"], /--policy: expected all, or some of resource/],
    [["simulate", "--hosts", "8x"], /--hosts: expected a number, or sizes/],
    [["simulate", "--trace", "/nowhere.csv"], /--trace: ENOENT/],
    [["simulate", "--history", "--url", "http://127.0.0.1:1"], /expected nats:\/\/… or tls:\/\/…/],
    [["simulate", "surplus"], /too many arguments/],
  ])("%j is exit 2 with words on stderr only", async (args, words) => {
    const { code, stdout, stderr } = await runMesh(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(words);
  });

  it("has a run of policies on machines that are not there printed as a table or as JSON, and drawn", async () => {
    const temporary = await mkdtemp(path.join(tmpdir(), "mesh-simulate-test-"));
    const html = path.join(temporary, "run.html");
    const args = ["simulate", "--tasks", "50", "--hosts", "2x16GB", "--policy", "resource,round-robin"];
    const shown = await runMesh([...args, "--html", html, "--quiet"]);
    expect(shown).toMatchObject({ code: 0, stderr: "" });
    expect(shown.stdout).toMatch(/^50 tasks .*\nPOLICY .*\nomniscient .*\nresource .*\nround-robin .*\n$/);
    expect(await readFile(html, "utf8")).toMatch(/<table>.*<svg .*<\/html>/s);
    const told = JSON.parse((await runMesh([...args, "--json"])).stdout) as { rows: { decider: string }[] };
    expect(told.rows.map(({ decider }) => decider)).toEqual(["omniscient", "resource", "round-robin"]);
    const nowhere = await runMesh([...args, "--svg", path.join(temporary, "no", "such", "run.svg")]);
    expect(nowhere).toMatchObject({ code: 1, stdout: "" });
    expect(nowhere.stderr).toMatch(/the chart could not be written/);
    await rm(temporary, { recursive: true });
  });

  it("says where a file's request is wrong, and takes a right one", async () => {
    const cloneUrl = "https://git.example.com/a/b";
    const request = { type: "pr_deployment", repository: "a/b", branch: "b", sha: SHA, cloneUrl };
    const wrong = await up.mesh(["deploy", "--file", "-"], {
      input: JSON.stringify({ ...request, shaa: 1 }),
    });
    expect(wrong).toMatchObject({ code: 2, stdout: "" });
    expect(wrong.stderr).toContain('did you mean "sha"?');
    const right = await up.mesh(["deploy", "--file", "-", "--json"], { input: JSON.stringify(request) });
    expect(JSON.parse(right.stdout)).toMatchObject({
      repository: "a/b",
      state: "queued",
      type: "pr_deployment",
    });
  });
});

describe("a deploy request on standard input", () => {
  it.each<[string, string, RegExp]>([
    ["nothing", "", /^mesh: standard input is no JSON text: /],
    ["half an object", '{"type":', /^mesh: standard input is no JSON text: /],
    ["a list", "[]", /^mesh: standard input: expected a deploy request, a JSON object$/m],
    ["200,000 brackets", "[".repeat(200_000), /^mesh: standard input is no JSON text: /],
    ["5 MB", " ".repeat(5_000_000), /^mesh: standard input is larger than 1048576 bytes/],
    ["bytes that are no text", "\u0000\u001b[2J", /^mesh: standard input is no JSON text: [^\u001b\u0000]*$/],
    ["a field that would retitle the terminal", '{"\\u001b]0;x\\u0007red":1}', /unknown field "red"/],
  ])("that is %s is exit 2, with words that do nothing to a terminal", async (_, input, words) => {
    const { code, stdout, stderr } = await up.mesh(["deploy", "--file", "-"], { input });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(words);
    expect(stderr).not.toMatch(/[\u0000-\u0008\u000b-\u001f]/);
  });

  it.skipIf(process.platform === "win32")("is read no further than a request can be long", async () => {
    const { code, stderr } = await up.mesh(["deploy", "--file", "/dev/zero"]);
    expect(code).toBe(2);
    expect(stderr).toContain("--file: /dev/zero is larger than 1048576 bytes");
  });
});

describe("the mesh", () => {
  it("is found by --url, MESH_URL, NATS_URL and the data folder, in this order", async () => {
    const { httpUrl, natsUrl } = up.ready;
    const env = { MESH_DATA_DIR: "/nowhere" };
    const nobody = { http: "http://127.0.0.1:9", nats: "nats://127.0.0.1:9" };
    const found = [
      runMesh(["hosts", "--url", httpUrl], { env: { ...env, MESH_URL: nobody.http } }),
      runMesh(["hosts"], { env: { ...env, MESH_URL: httpUrl, NATS_URL: nobody.nats } }),
      runMesh(["hosts"], { env: { ...env, NATS_URL: natsUrl } }),
      up.mesh(["hosts"]),
    ];
    expect((await Promise.all(found)).map(({ code }) => code)).toEqual([0, 0, 0, 0]);
    const lost = await runMesh(["hosts"], { env });
    expect(lost).toMatchObject({ code: 1, stdout: "" });
    expect(lost.stderr).toMatch(/mesh up.*--url, MESH_URL or NATS_URL/);
    const wrongToken = { NATS_URL: natsUrl.replace(/\/\/.*@/, "//wrong@") };
    const refused = await runMesh(["hosts"], { env: wrongToken });
    expect(refused.code).toBe(1);
    expect(refused.stderr).not.toContain("wrong@");
  });

  it.each(["task", "logs", "artifacts", "explain", "cancel", "retry"])(
    "answers exit 1 to `%s` of an unknown task",
    async (verb) => {
      for (const url of [up.ready.httpUrl, up.ready.natsUrl]) {
        const { code, stdout, stderr } = await up.mesh([verb, "nobody", "--url", url]);
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
        expect(stderr).toMatch(/^mesh: .*nobody/);
      }
    },
  );

  it("tells in JSON exactly what the gateway gives", async () => {
    // What a decision would be is found out anew for each question.
    const withoutTime = (json: string): unknown =>
      JSON.parse(json, (key, value: unknown) => (key === "at" ? "then" : value));
    const taskId = await submitted("--pr", "9", "--priority", "low");
    for (const [args, route] of [
      [["task", taskId], `v1/tasks/${taskId}`],
      [["explain", taskId], `v1/tasks/${taskId}/explain`],
      [["tasks"], "v1/tasks"],
      [["hosts"], "v1/hosts"],
      [["dead"], "v1/dead"],
    ] as const) {
      const { code, stdout } = await up.mesh([...args, "--json"]);
      const given = await (await fetch(`${up.ready.httpUrl}/${route}`)).text();
      expect(code).toBe(0);
      expect(stdout.split("\n")).toHaveLength(2);
      expect(withoutTime(stdout)).toEqual(withoutTime(given));
    }
  });

  it("has one task for one id, and a conflict for another request under it", async () => {
    const first = await submitted("--task-id", "known-1");
    expect(await submitted("--task-id", "known-1")).toBe(first);
    const other = await up.mesh([...DEPLOY, "--task-id", "known-1", "--", "false"]);
    expect(other).toMatchObject({ code: 1, stdout: "" });
    expect(other.stderr).toContain("known-1");
  });

  it("does every dead letter of a category again, once, and says what it made", async () => {
    await using bus = await connectBus({ url: up.ready.natsUrl, name: "test" });
    const dead = await submitted("--max-attempts", "1");
    await sayStarted(bus, dead);
    const failure = { category: "internal", message: "the host met a bug" };
    await say(bus, dead, "faulted", "host-1", { attempt: 1, nonce: "n", failure });
    await expect.poll(async () => (await up.mesh(["dead"])).stdout, { timeout: 20_000 }).toContain(dead);
    const other = await up.mesh(["retry", "--all", "--category", "source", "--json"]);
    expect(JSON.parse(other.stdout)).toEqual({ retried: [], refused: [] });
    const again = await up.mesh(["retry", "--all", "--category", "internal"]);
    expect(again).toMatchObject({ code: 0, stderr: "" });
    const [, made] = new RegExp(`^(\\S+) \\(again ${dead}\\)\n$`).exec(again.stdout) ?? [];
    expect((await up.mesh(["task", made ?? ""])).stdout).toContain(dead);
    expect(await up.mesh(["retry", "--all"])).toMatchObject({ code: 0, stderr: "No dead letters.\n" });
  });

  it("lists and downloads what a task has left, and keeps nothing that is damaged or in the way", async () => {
    await using bus = await connectBus({ url: up.ready.natsUrl, name: "test" });
    const patch = Buffer.alloc(500_000, "a patch ");
    await leaveBehind(bus, "left-1", patch);
    await leaveBehind(bus, "left-2", patch, ([first = patch]) => [first]);
    const folder = await mkdtemp(path.join(tmpdir(), "mesh-artifacts-"));
    for (const taskId of ["left-2", "left-1"])
      await expect
        .poll(async () => (await up.mesh(["artifacts", taskId])).stdout, { timeout: 20_000 })
        .toMatch(/^NAME +SIZE +SHA-256\npatch +500\S* .B +[0-9a-f]{64}\n$/);
    const args = ["left-1", "patch", "--download", folder, "--url", up.ready.httpUrl];
    expect(await up.mesh(["artifacts", ...args])).toMatchObject({ code: 0, stderr: "" });
    expect((await readFile(path.join(folder, "patch"))).equals(patch)).toBe(true);
    const again = await up.mesh(["artifacts", ...args]);
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toContain("is there already");
    const damaged = await up.mesh(["artifacts", "left-2", "--download", path.join(folder, "2")]);
    expect(damaged).toMatchObject({ code: 1, stdout: "" });
    expect(await readdir(path.join(folder, "2"))).toEqual([]);
    const unknown = await up.mesh(["artifacts", "left-1", "path"]);
    expect(unknown).toMatchObject({ code: 1, stdout: "" });
    expect(unknown.stderr).toContain('no artifact "path"; there are: patch');
    for (const nowhere of ["/dev/null/x", "/proc/x"])
      expect(await up.mesh(["artifacts", "left-1", "--download", nowhere])).toMatchObject({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining("--download: ") as string,
      });
    await rm(folder, { recursive: true });
  });

  it("cancels a task, a pull request, and a repository", async () => {
    const one = await submitted();
    expect(await up.mesh(["cancel", one])).toMatchObject({ code: 0, stdout: `${one}\n` });
    const two = await submitted("--pr", "4", "--no-supersede");
    const cancelled = await up.mesh(["cancel", "--pr", "acme/shop#4", "--json"]);
    expect(JSON.parse(cancelled.stdout)).toEqual({ cancelled: [two] });
    const three = await submitted();
    expect((await up.mesh(["cancel", "--repository", "acme/shop"])).stdout).toContain(three);
    expect(await up.mesh(["cancel", "--repository", "acme/nothing"])).toMatchObject({ code: 0, stdout: "" });
  });

  it("changes a setting over HTTP and NATS, and refuses a wrong one with what was expected", async () => {
    for (const url of [up.ready.httpUrl, up.ready.natsUrl]) {
      const set = await up.mesh(["config", "set", "task.timeoutGraceMs", "90s", "--json", "--url", url]);
      expect(JSON.parse(set.stdout)).toMatchObject({
        key: "task.timeoutGraceMs",
        value: 90_000,
        isSet: true,
      });
      expect((await up.mesh(["config", "get", "task.timeoutGraceMs", "--url", url])).stdout).toMatch(
        /90000 +300000/,
      );
      const wrong = await up.mesh(["config", "set", "task.timeoutGraceMs", "soon", "--url", url]);
      expect(wrong).toMatchObject({ code: 2, stdout: "" });
      expect(wrong.stderr).toMatch(/^mesh: task.timeoutGraceMs: expected whole milliseconds/);
      const unset = await up.mesh(["config", "unset", "task.timeoutGraceMs", "--json", "--url", url]);
      expect(JSON.parse(unset.stdout)).toMatchObject({ value: 300_000, isSet: false });
    }
    expect(await up.mesh(["config", "get", "task.timeoutGrceMs"])).toMatchObject({ code: 2, stdout: "" });
  });

  it("shows tasks in a table, without colours where there is no terminal", async () => {
    await submitted();
    const { stdout } = await up.mesh(["tasks", "--limit", "3"], { env: { NO_COLOR: "" } });
    expect(stdout).toMatch(/^TASK +STATE +HOST/);
    expect(stdout).not.toContain("\u001b");
  });
});

describe("waiting", () => {
  it("ends with 130 at SIGINT, and says that the task goes on and how to end it", async () => {
    const args = [...DEPLOY, "--task-id", "long-1", "--wait", "--", "true"];
    const waiting = startProgram(args, { env: { MESH_DATA_DIR: up.dataDir } });
    const queued = Promise.withResolvers<void>();
    waiting.stderr?.on("data", (text: Buffer) => {
      if (text.includes("queued")) queued.resolve();
    });
    await queued.promise;
    waiting.kill("SIGINT");
    const { code, stdout, stderr } = await waiting.ended;
    expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
    expect(stderr).toMatch(/task long-1 goes on/);
    expect(stderr).toContain("mesh cancel long-1");
    expect((await up.mesh(["task", "long-1"])).stdout).toMatch(/^queued/);
  });

  it("ends with 1 and the task when somebody cancels it", async () => {
    const waiting = up.mesh([...DEPLOY, "--task-id", "long-2", "--wait", "--json", "--", "true"]);
    let cancelled = 1;
    while (cancelled !== 0) cancelled = (await up.mesh(["cancel", "long-2"])).code ?? 1;
    const { code, stdout } = await waiting;
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ taskId: "long-2", state: "cancelled" });
  });
});
