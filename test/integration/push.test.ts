// Patches pushed onto pull requests' branches by real gateways, to a real git server with a password: once, onto exactly
// the commit that they were made on, or parked with the reason. Hosts and gateways are killed in between.
import { createHash } from "node:crypto";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { start as startGateway } from "../../services/gateway/main.ts";
import { commitPatch } from "../../services/gateway/push/commit.ts";
import { requestProblem } from "../../services/gateway/push/judge.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { contentOf } from "../../shared/bus/snapshot.ts";
import { PUSHES } from "../../shared/bus/streams.ts";
import { artifactSubject } from "../../shared/contracts/artifact.ts";
import { pushSubject } from "../../shared/contracts/push.ts";
import { git } from "../../shared/repository/git.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import {
  deployRequest,
  postJson,
  problemOf,
  readEvents,
  say,
  sayStarted,
  saySucceeded,
} from "../support/gateway.ts";
import { type GitServer, startGitServer } from "../support/git-server.ts";
import { openLink } from "../support/link.ts";
import { runMesh } from "../support/mesh-program.ts";
import { startNats } from "../support/nats.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { startServiceProcesses } from "../support/service-processes.ts";

const LOGIN = { user: "mesh", password: "a secret" };
const DEADLINE = { timeout: 30_000, interval: 50 };
const NAME = "octo-org/website";
const GRANT = { url: "", author: { name: "Bot", email: "bot@example.invalid" }, workflows: false };

let stack: AsyncDisposableStack;
let bus: Bus;
let url: string;
let folder: string;
let repository: Repository;
let server: GitServer;
let config: string;

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  ({ url } = stack.use(await startNats()));
  bus = stack.use(await openBus(url));
  stack.use(await startTracker(contextFor(url)));
});
afterAll(() => stack.disposeAsync());

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "mesh-push-test-"));
  repository = makeRepository();
  server = await startGitServer(path.dirname(repository.path), LOGIN);
  await configure();
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  repository[Symbol.dispose]();
  await rm(folder, { recursive: true, force: true });
});

/** A configuration that lets gateways push there, with this password. */
async function configure({ password = LOGIN.password, remote = server.url, more = "" } = {}): Promise<void> {
  const credentials = path.join(folder, "credentials");
  const login = `${LOGIN.user}:${encodeURIComponent(password)}@`;
  await writeFile(credentials, `${remote.replace("://", `://${login}`)}\n`, { mode: 0o600 });
  config = path.join(folder, "mesh.toml");
  const grant = { url: `${remote}/origin.git`, credentials };
  await writeFile(
    config,
    `[push."Octo-Org/Website"]\nurl = ${JSON.stringify(grant.url)}\ncredentials = ${JSON.stringify(credentials)}\n${more}`,
  );
}

const gateway = (times = {}) =>
  startGateway(contextFor(url, { MESH_CONFIG: config }), {
    port: 0,
    push: { everyMs: 20, againMs: 50, patienceMs: 60_000, ...times },
  });

let number = 0;
/** A task whose host has left this patch, and said that it succeeded. */
async function succeed(
  patch: string | Buffer,
  overrides: object = {},
  kept = Buffer.from(patch),
): Promise<string> {
  const taskId = `push-${++number}`;
  const asked = {
    branch: repository.branch,
    sha: repository.headSha,
    cloneUrl: repository.url,
    push: true,
  };
  const bytes = Buffer.from(patch);
  const subject = artifactSubject.build({ taskId, attempt: "1", hostId: "host-1", name: "patch" });
  if (kept.length > 0) await bus.js.publish(subject, kept);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const entry = { name: "patch", size: bytes.length, sha256, chunks: 1 };
  await say(bus, taskId, "requested", "normal", deployRequest({ ...asked, ...overrides }));
  await sayStarted(bus, taskId);
  await saySucceeded(bus, taskId, { artifacts: [entry] });
  return taskId;
}

/** What the tracker tells of it, once it is no longer wanted. */
const outcomeOf = (taskId: string) =>
  vi.waitUntil(async () => {
    const task = await askApi(bus, "get", { taskId });
    return task.ok && task.value.push?.state !== "wanted" ? task.value.push : null;
  }, DEADLINE);

const tip = () => repository.git("ls-remote", "origin", `refs/heads/${repository.branch}`).split("\t")[0];

/** What git makes of a script's work in the repository, as a host takes it. */
async function patchOf(script: string): Promise<Buffer> {
  const tree = path.join(folder, "tree");
  const git = (...args: string[]) =>
    execa("git", args, { cwd: tree, encoding: "buffer", stripFinalNewline: false });
  await rm(tree, { recursive: true, force: true });
  await execa("git", ["clone", "-q", "-b", repository.branch, repository.path, tree]);
  await execa("sh", ["-ec", script], { cwd: tree });
  await git("add", "-A");
  const { stdout } = await git("diff", "--cached", "--binary", "--full-index");
  return Buffer.from(stdout);
}

describe("a succeeded task's patch", () => {
  it("is pushed onto the branch as one commit, told by get, list and events, and by no gateway again", async () => {
    await using first = await gateway();
    const patch = await patchOf(
      "echo more >> README.md; head -c 3000 /dev/urandom > image.bin; chmod +x src/sum.sh",
    );
    const taskId = await succeed(patch);
    const outcome = await outcomeOf(taskId);
    expect(outcome).toMatchObject({ state: "pushed", sha: tip() });
    expect(repository.git("fetch", "-q", "origin", repository.branch)).toBe("");
    const about = repository.git("log", "-1", "--format=%P %an <%ae> %s", "FETCH_HEAD");
    expect(about).toBe(
      `${repository.headSha} agent-mesh <agent-mesh@noreply.invalid> Work of task ${taskId}`,
    );
    expect(repository.git("diff", "--stat", "FETCH_HEAD^", "FETCH_HEAD")).toMatch(
      /README\.md.*\n.*image\.bin.*\n.*src\/sum\.sh/,
    );
    const events = [];
    for await (const event of readEvents(`${first.url}/v1/tasks/${taskId}/push`)) events.push(event);
    expect(events).toMatchObject([{ event: "pushed", data: { taskId, branch: "feature", attempt: 1 } }]);
    expect((await fetch(`${first.url}/v1/tasks/${taskId}/push?lastEventId=${events[0]?.id}`)).status).toBe(
      204,
    );
    const listed = await askApi(bus, "list", {});
    expect(listed.ok && listed.value.data.find((task) => task.taskId === taskId)?.push).toEqual(outcome);

    // One that begins anew reads all of the log, and leaves what is said as it is.
    repository.git("push", "-q", "-f", "origin", `${repository.headSha}:refs/heads/${repository.branch}`);
    await using _ = await gateway();
    expect(await outcomeOf(await succeed(patch))).toMatchObject({ state: "pushed" });
    expect(await outcomeOf(taskId)).toEqual(outcome);
  });

  it("is pushed once by two gateways at once, and by one that was killed right after its push", async () => {
    await using processes = await startServiceProcesses(folder, { NATS_URL: url, MESH_CONFIG: config });
    const killed = processes.start("gateway", { MESH_HTTP_PORT: "0" });
    killed.keepDown(3_600_000);
    const hook = path.join(repository.path, "hooks", "post-receive");
    // The remote has taken the push; the gateway that made it has not heard of that, and never will.
    writeFileSync(hook, `#!/bin/sh\nkill -9 ${killed.pid()}\nrm "$0"\n`);
    chmodSync(hook, 0o755);
    const taskId = await succeed(await patchOf("echo more >> README.md"));
    await vi.waitUntil(() => killed.pid() === null, DEADLINE);
    expect(existsSync(hook)).toBe(false);
    const after = tip();
    expect(after).not.toBe(repository.headSha);
    expect(await askApi(bus, "get", { taskId })).toMatchObject({ value: { push: { state: "wanted" } } });
    await using both = new AsyncDisposableStack();
    for (const one of await Promise.all([gateway(), gateway()])) both.use(one);
    expect(await outcomeOf(taskId)).toMatchObject({ state: "pushed", sha: after });
    expect(tip()).toBe(after);
    const { messages } = await contentOf(bus, PUSHES, pushSubject.build({ taskId }));
    expect([...messages.values()]).toEqual([1]);
  });

  it("waits for a remote that is away or does not know the gateway, and is parked if that lasts", async () => {
    await configure({ password: "wrong" });
    const taskId = await succeed(await patchOf("echo more >> README.md"));
    {
      await using _ = await gateway();
      await vi.waitUntil(() => server.answers.filter((status) => status === 401).length > 3, DEADLINE);
      const push = { state: "wanted", pusher: true };
      expect(await askApi(bus, "get", { taskId })).toMatchObject({ value: { push } });
    }
    expect(await askApi(bus, "get", { taskId })).toMatchObject({ value: { push: { state: "wanted" } } });
    await configure();
    {
      await using _ = await gateway();
      expect(await outcomeOf(taskId)).toMatchObject({ state: "pushed" });
    }
    await configure({ remote: "http://127.0.0.1:9" });
    await using _ = await gateway({ patienceMs: 0 });
    const parked = await outcomeOf(await succeed(await patchOf("echo yet more >> README.md")));
    expect(parked).toMatchObject({ state: "parked", code: "unreachable" });
    expect(JSON.stringify(parked)).not.toContain(encodeURIComponent(LOGIN.password));
  });

  it("is said to have arrived perhaps, where nobody can be asked what became of it", async () => {
    const link = await openLink(Number(new URL(server.url).port));
    await configure({ remote: `http://127.0.0.1:${link.port}` });
    const [arrived, cut] = [path.join(folder, "arrived"), path.join(folder, "cut")];
    const script = `#!/bin/sh\ntouch ${arrived}\nuntil [ -e ${cut} ]; do sleep 0.05; done\n`;
    writeFileSync(path.join(repository.path, "hooks", "post-receive"), script, { mode: 0o755 });
    await using _ = await gateway({ patienceMs: 0 });
    const taskId = await succeed(await patchOf("echo more >> README.md"));
    await vi.waitUntil(() => existsSync(arrived), DEADLINE);
    await link[Symbol.asyncDispose]();
    writeFileSync(cut, "");
    expect(await outcomeOf(taskId)).toMatchObject({
      code: "unreachable",
      message: expect.stringContaining("may have arrived: the branch tells") as string,
    });
    expect(tip()).not.toBe(repository.headSha);
  });

  it("is parked, and the branch stays as it is, for each reason", async () => {
    await using _ = await gateway();
    const edit = await patchOf("echo more >> README.md");
    const workflow = await patchOf("mkdir -p .github/workflows && echo on: push > .github/workflows/ci.yml");
    const damaged = Buffer.from(edit.toString().replace("more", "less"));
    const cases: [code: string, ...Parameters<typeof succeed>][] = [
      ["no-patch", ""],
      ["not-granted", edit, { repository: "octo-org/other" }],
      ["base-branch", edit, { branch: "main", sha: repository.baseSha }],
      ["base-branch", edit, { baseBranch: repository.branch }],
      ["moved", edit, { branch: "gone" }],
      ["moved", edit, { sha: repository.baseSha }],
      ["workflows", workflow],
      ["no-artifact", edit, {}, damaged],
      ["no-artifact", edit, {}, Buffer.alloc(0)],
    ];
    const tasks = [];
    for (const [code, ...task] of cases) tasks.push([code, await succeed(...task)] as const);
    for (const [index, [code, taskId]] of tasks.entries())
      expect([index, await outcomeOf(taskId)]).toMatchObject([index, { state: "parked", code }]);
    expect(tip()).toBe(repository.headSha);

    const hook = path.join(repository.path, "hooks", "pre-receive");
    writeFileSync(hook, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    expect(await outcomeOf(await succeed(edit))).toMatchObject({
      code: "refused",
      message: expect.stringContaining("pre-receive hook declined"),
    });
    await rm(hook);
    expect(await outcomeOf(await succeed(edit))).toMatchObject({ state: "pushed" });
    expect(await outcomeOf(await succeed(edit))).toMatchObject({ code: "moved" });
  });
});

it("is parked where the pull request comes from a fork, whatever is granted", () => {
  const fork = request({ fork: true, push: true });
  expect(requestProblem(fork, GRANT)).toMatchObject({ state: "parked", code: "fork" });
  expect(requestProblem({ ...fork, fork: false }, GRANT)).toBeNull();
});

describe("a patch becomes a commit", () => {
  const POINTER = `printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:%064d\\nsize 12\\n' 7 > big.bin`;
  const file = (name: string, mode: string, line: string) =>
    `diff --git a/${name} b/${name}\nnew file mode ${mode}\n--- /dev/null\n+++ b/${name}\n@@ -0,0 +1 @@\n+${line}\n`;
  /** A few bytes that say to be 300 MB. */
  const LARGE = `diff --git a/x b/x\nnew file mode 100644\nindex ${"0".repeat(40)}..${"1".repeat(40)}\nGIT binary patch\nliteral 300000000\nAcmV+b\n\nliteral 0\nHcmV?d00001\n\n`;
  /** More changes than git is heard out on, before one that may not be. */
  const MANY =
    Array.from({ length: 2_600 }, (_, number) => file(`+${number}${"n".repeat(4_000)}`, "100644", "x")).join(
      "",
    ) + file(".github/workflows/ci", "100644", "x");
  const made = (script: string) => () => patchOf(script);

  it.each<[what: string, code: string | null, patch: string | (() => Promise<Buffer>)]>([
    ["edits, and links that stay inside", null, made("echo more >> README.md; ln -s src/sum.sh link")],
    [
      "what was never there",
      "does-not-apply",
      file("x", "100644", "x").replace("new file mode 100644\n", ""),
    ],
    ["hooks of git's own", "does-not-apply", file(".git/hooks/pre-push", "100755", "touch escaped")],
    ["git's own settings, written otherwise", "does-not-apply", file(".GIT/config", "100644", "x")],
    ["the same by a short name of Windows", "does-not-apply", file("git~1/config", "100644", "x")],
    ["a path out of the tree", "does-not-apply", file("a/../../escaped", "100644", "x")],
    ["a file behind a link", "does-not-apply", file("out", "120000", "/tmp") + file("out/in", "100644", "x")],
    ["far more than it seems", "does-not-apply", LARGE],
    ["a link out of the tree", "unsafe", made("ln -s ../../../etc/passwd link")],
    ["a link to the root", "unsafe", made("ln -s /etc/passwd link")],
    ["a link to git's own", "unsafe", made("mkdir d && ln -s ../.git/config d/link")],
    ["a submodule", "unsafe", file("sub", "160000", `Subproject commit ${"1".repeat(40)}`)],
    [
      "workflows, written otherwise",
      "workflows",
      made("mkdir -p .github/Workflows && echo x > .github/Workflows/ci"),
    ],
    ["a file of Git LFS", "large-files", made(POINTER)],
    ["what GitLab runs", "workflows", made("echo x: y > .gitlab-ci.yml")],
    ["what Jenkins runs", "workflows", file("Jenkinsfile", "100644", "x")],
    ["what CircleCI runs", "workflows", file(".circleci/config.yml", "100644", "x")],
    ["what CI services run, by a link", "workflows", made("ln -s README.md azure-pipelines.yml")],
    ["what is called so elsewhere", null, made("mkdir docs && touch docs/.gitlab-ci.yml docs/Jenkinsfile")],
    ["workflows, behind more than can be looked at", "unsafe", MANY],
  ])("of %s: %s", async (_, code, patch) => {
    const gitDir = path.join(folder, "bare");
    const patchFile = path.join(folder, "patch");
    await execa("git", ["clone", "-q", "--bare", repository.path, gitDir]);
    await writeFile(patchFile, typeof patch === "string" ? patch : await patch());
    const about = { gitDir, patchFile, parent: repository.headSha, message: "Work", atMs: 1_000_000 };
    const commit = () => commitPatch({ ...about, grant: GRANT, signal: new AbortController().signal });
    const outcome = await commit();
    expect(outcome).toMatchObject(
      code === null ? { ok: true } : { ok: false, parked: { state: "parked", code } },
    );
    if (patch === LARGE) expect(JSON.stringify(outcome)).toContain("over limit");
    // The same again, whatever lies there by now.
    expect(await commit()).toEqual(outcome);
    expect(existsSync(path.join(gitDir, "hooks", "pre-push"))).toBe(false);
    expect(await readdir(folder)).not.toContain("escaped");
  });
});

it("tells git nothing of the mesh's own settings, and all else that credentials may need", async () => {
  vi.stubEnv("NATS_URL", "nats://a-token@127.0.0.1");
  vi.stubEnv("SSH_AUTH_SOCK", "/an/agent");
  const { stdout } = await git(["-c", "alias.told=!env", "told"]);
  vi.unstubAllEnvs();
  expect(stdout).toContain("SSH_AUTH_SOCK=/an/agent");
  expect(stdout).not.toContain("a-token");
});

it.runIf(process.platform === "linux")("has no git take more memory than it may have", async () => {
  const hash = (memoryBytes: number) =>
    git(["hash-object", "--stdin"], { input: "x".repeat(100_000_000), memoryBytes });
  expect(await hash(2 ** 30)).toMatchObject({ ok: true });
  const refused = await hash(100_000_000);
  expect(refused).toMatchObject({ ok: false, exitCode: 128 });
  expect(refused.stderr).toContain("memory");
});

it("may change workflows where the operator says so, as the author that he names", async () => {
  await configure({ more: 'workflows = true\nauthor = { name = "Bot", email = "bot@example.invalid" }\n' });
  await using _ = await gateway();
  const patch = await patchOf("mkdir -p .github/workflows && echo on: push > .github/workflows/ci.yml");
  expect(await outcomeOf(await succeed(patch))).toMatchObject({ state: "pushed", sha: tip() });
  repository.git("fetch", "-q", "origin", repository.branch);
  expect(repository.git("log", "-1", "--format=%cn <%ce>", "FETCH_HEAD")).toBe("Bot <bot@example.invalid>");
});

it("of a mesh none of whose gateways may push is known to have no pusher, and is waited for no longer", async () => {
  const priority = "normal";
  const taskId = await succeed(await patchOf("echo more >> README.md"), { priority });
  const push = { state: "wanted", pusher: false };
  expect(await askApi(bus, "get", { taskId })).toMatchObject({ value: { push } });
  const file = path.join(folder, "request.json");
  const { branch, headSha: sha, url: cloneUrl } = repository;
  await writeFile(
    file,
    JSON.stringify({ ...deployRequest({ branch, sha, cloneUrl, push: true, priority }), taskId }),
  );
  const env = { NATS_URL: url };
  const ended = await runMesh(["deploy", "--file", file, "--wait", "--json"], { env });
  expect(ended.stderr).toContain(
    'no gateway that may push is there: [push."octo-org/website"] in its MESH_CONFIG',
  );
  expect(ended.code).toBe(1);
  expect(JSON.parse(ended.stdout)).toMatchObject({ taskId, state: "succeeded", push });
  // It is not lost: one that may finds it.
  await using _ = await gateway();
  expect(await outcomeOf(taskId)).toMatchObject({ state: "pushed" });
});

it("is refused at the door where nothing may be pushed, and is never wanted of a task that failed", async () => {
  await using first = await gateway();
  const submit = (overrides: object) =>
    postJson(`${first.url}/v1/tasks`, deployRequest({ push: true, ...overrides }));
  const other = await submit({ repository: "octo-org/other" });
  expect([other.status, (await problemOf(other)).detail]).toEqual([
    403,
    'push: nothing may be pushed to octo-org/other: [push."octo-org/other"] in MESH_CONFIG of the gateways allows it',
  ]);
  expect((await problemOf(await submit({ fork: true }))).detail).toContain("nothing is pushed to a fork");
  const taskId = "failed-push";
  expect((await submit({ taskId, repository: NAME })).status).toBe(202);
  expect(await askApi(bus, "get", { taskId })).toMatchObject({ value: { push: { state: "wanted" } } });
  await askApi(bus, "cancel", { taskId });
  await vi.waitUntil(async () => {
    const task = await askApi(bus, "get", { taskId });
    return task.ok && task.value.state === "cancelled" && task.value.push === null;
  }, DEADLINE);
  expect((await fetch(`${first.url}/v1/tasks/${taskId}/push`)).status).toBe(200);
});
