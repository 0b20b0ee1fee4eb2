// Secrets of a host in real attempts: who gets them, what of them leaves, and how their file is kept.
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { REDACTED } from "../../services/host-agent/redaction.ts";
import { storeFileIn } from "../../services/host-agent/secrets/store-file.ts";
import { type AttemptHost, startAttemptHost } from "../support/attempt.ts";
import { DEADLINE, startHostMesh } from "../support/host.ts";
import { runMesh } from "../support/mesh-program.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { hasBubblewrap } from "../support/supervisor.ts";

const VALUE = 'tok"en\\0123456789';
const GATES = '[gates]\ntests = "test \\"$DEPLOY_KEY\\" = deploy-0123456789 && echo $DEPLOY_KEY"\n';

let host: AttemptHost;
let repository: Repository;
beforeAll(async () => {
  host = await startAttemptHost();
  repository = makeRepository({ files: { ".agent-mesh.toml": `secrets = ["DEPLOY_KEY"]\n${GATES}` } });
  await keep({ API_TOKEN: VALUE, DEPLOY_KEY: "deploy-0123456789" });
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  repository[Symbol.dispose]();
});

async function keep(values: Record<string, string>, repositories = [new URL(repository.url).pathname]) {
  const entries = Object.entries(values).map(([name, value]) => [name, { value, repositories }]);
  await writeFile(storeFileIn(host.folder), JSON.stringify(Object.fromEntries(entries)), { mode: 0o600 });
}

const said = async (taskId: string) => (await host.chunks(taskId)).map(({ text }) => text).join("");
const artifact = async (taskId: string, name: string) =>
  Buffer.concat(await host.artifact(taskId, name)).toString();
const command = (text: string) => ({ run: { command: text }, secrets: ["API_TOKEN"] });

describe("a secret of the host", () => {
  it("is there for the command and the gates of its repository, and is in nothing that they leave", async () => {
    const { taskId, failure, result } = await host.run(
      repository,
      command('test ${#API_TOKEN} = 17 && printf "it is %s\\n" "$API_TOKEN" && test -n "$DEPLOY_KEY"'),
    );
    expect(failure).toBeNull();
    expect(result?.checks.map(({ gate, verdict }) => [gate, verdict])).toEqual([["tests", "confirmed"]]);
    expect(await artifact(taskId, "log")).toBe(`it is ${REDACTED}\n`);
    expect(await artifact(taskId, "gate-tests")).toBe(`${REDACTED}\n`);
    const log = await said(taskId);
    expect(log).toContain("secrets API_TOKEN, DEPLOY_KEY: given");
    for (const text of [
      log,
      ...(await Promise.all(["log", "result", "gate-tests"].map((name) => artifact(taskId, name)))),
    ]) {
      expect(text).not.toContain("deploy-0123456789");
      expect(text).not.toContain(VALUE);
      expect(text).not.toContain(JSON.stringify(VALUE).slice(1, -1));
    }
  });

  it("is not there for a task that does not name it", async () => {
    const { failure } = await host.run(repository, { run: { command: 'test -z "$API_TOKEN"' } });
    expect(failure).toBeNull();
  });

  it("lets no patch leave that it is in", async () => {
    const { taskId, failure, result } = await host.run(
      repository,
      command('printf "%s" "key=$API_TOKEN" > settings'),
    );
    expect(failure).toMatchObject({ category: "agent", message: expect.stringContaining("holds a secret") });
    expect(result?.artifacts.find(({ name }) => name === "patch")?.size).toBe(0);
    expect(await artifact(taskId, "patch")).toBe("");
  });

  it("is not there for a pull request from a fork, which runs without", async ({ skip }) => {
    if (!host.hello.ownNetwork) skip("this machine cannot keep strangers' work from the network");
    const { taskId, failure, result } = await host.run(repository, {
      ...command('test -z "$API_TOKEN$DEPLOY_KEY"'),
      fork: true,
    });
    expect(result?.exitCode).toBe(0);
    // Its gate asks for one.
    expect(failure).toMatchObject({ category: "gate" });
    expect(await said(taskId)).toContain("not given, since a pull request from a fork gets none");
  });

  it("is not there for another repository, whatever that is called, and words say what helps", async () => {
    using other = makeRepository({ files: { ".agent-mesh.toml": 'secrets = ["DEPLOY_KEY"]\n' } });
    const { failure, result } = await host.run(other, command("touch ran"));
    expect(failure).toEqual({
      category: "setup",
      message: expect.stringMatching(
        /^host h1 has no API_TOKEN, DEPLOY_KEY for \/\S+: `mesh host secret set` there gives it one/,
      ),
    });
    expect(result?.exitCode).toBeNull();
  });

  it("is read anew for the next attempt, and what it was before is still in nothing that leaves", async () => {
    await keep({ API_TOKEN: "another-0123456789", DEPLOY_KEY: "deploy-0123456789" });
    const { taskId, failure } = await host.run(
      repository,
      command(`printf '%s %s\\n' "$API_TOKEN" '${VALUE}'`),
    );
    expect(failure).toBeNull();
    expect(await artifact(taskId, "log")).toBe(`${REDACTED} ${REDACTED}\n`);
  });

  it.skipIf(process.platform === "win32")("is given to nobody once others may read its file", async () => {
    await chmod(storeFileIn(host.folder), 0o640);
    const { failure } = await host.run(repository, command("true"));
    expect(failure).toEqual({
      category: "setup",
      message: expect.stringMatching(/^the secrets of host h1 cannot be used: .*mode 640.*expected 600/),
    });
    await chmod(storeFileIn(host.folder), 0o600);
    expect((await host.run(repository, command("true"))).failure).toBeNull();
  });
});

describe("mesh host secret", () => {
  it("keeps what a running host then offers, from standard input alone, and never shows a value", async () => {
    await using mesh = await startHostMesh({ tracker: false });
    const { dataDir } = await mesh.host("h1");
    const call = (args: string[], input = "") =>
      runMesh(["host", "secret", ...args, "--data", dataDir], { input });
    expect(
      await call(["set", "NPM_TOKEN", "--repo", "GitHub.com/Octo-Org/Website"], "npm_0123456789\r\n"),
    ).toEqual({
      code: 0,
      stdout: "",
      stderr: "NPM_TOKEN is set\n",
    });
    const file = storeFileIn(dataDir);
    if (process.platform !== "win32") expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({
      NPM_TOKEN: { value: "npm_0123456789", repositories: ["github.com/octo-org/website"] },
    });
    expect(await call(["grant", "NPM_TOKEN", "github.com/octo-org/*"])).toMatchObject({ code: 0 });
    const repositories = ["github.com/octo-org/website", "github.com/octo-org/*"];
    await vi.waitUntil(async () => {
      const [offered] = (await mesh.heartbeat("h1"))?.secrets ?? [];
      return offered?.repositories.length === 2 && offered.name === "NPM_TOKEN";
    }, DEADLINE);
    expect(JSON.parse((await call(["list", "--json"])).stdout)).toEqual({
      file,
      secrets: [{ name: "NPM_TOKEN", repositories }],
    });
    expect((await call(["list"])).stdout).toBe(`NPM_TOKEN: ${repositories.join(", ")}\n`);
    expect(await call(["remove", "NPM_TOKEN", "--repo", "github.com/octo-org/*"])).toMatchObject({ code: 0 });
    expect(await call(["set", "NPM_TOKEN"], "npm_abcdefghij")).toMatchObject({ code: 0 });
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({
      NPM_TOKEN: { value: "npm_abcdefghij", repositories: ["github.com/octo-org/website"] },
    });
    expect(await call(["remove", "NPM_TOKEN"])).toMatchObject({ code: 0 });
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({});
  });

  it("loses nothing where several are set at once, and leaves nothing beside the file", async () => {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(path.join(tmpdir(), "mesh-secrets-"));
    stack.defer(() => rm(folder, { recursive: true }));
    const file = path.join(folder, "secrets.json");
    // As one that was ended in the middle leaves it.
    await writeFile(`${file}.draft`, "{", { mode: 0o600 });
    const names = ["A", "B", "C", "D", "E"];
    const set = (name: string) =>
      runMesh(["host", "secret", "set", name], { input: "0123456789", env: { MESH_HOST_SECRETS: file } });
    for (const ended of await Promise.all(names.map(set))) expect(ended).toMatchObject({ code: 0 });
    expect(Object.keys(JSON.parse(await readFile(file, "utf8"))).sort()).toEqual(names);
    expect(await readdir(folder)).toEqual(["secrets.json"]);
  });

  it("refuses what cannot be kept, and leaves the file as it was", async () => {
    await using mesh = await startHostMesh({ tracker: false });
    const { dataDir } = await mesh.host("h1");
    const call = (args: string[], input = "") =>
      runMesh(["host", "secret", ...args, "--data", dataDir], { input });
    for (const [args, input, code, words] of [
      [["set", "A"], "short", 2, "A: value: expected 8 characters or more"],
      [["set", "A"], "a-first-line\na-second-line", 2, "expected one line"],
      [["set", "PATH"], "0123456789", 2, "instances have a variable of this name"],
      [["set", "no-name"], "0123456789", 2, "expected a secret's name"],
      [["set", "A", "--repo", "website"], "0123456789", 2, 'mesh: "website": expected a repository'],
      [["grant", "A", "github.com/a/b"], "", 1, "no secret A here; there are: none"],
      [["remove", "A"], "", 1, "no secret A here"],
    ] as const) {
      const ended = await call([...args], input);
      expect(ended).toMatchObject({ code, stdout: "" });
      expect(ended.stderr).toContain(words);
    }
    await expect(readFile(storeFileIn(dataDir))).rejects.toMatchObject({ code: "ENOENT" });
    expect((await runMesh(["host", "secret", "list", "--data", "/nowhere"])).stderr).toContain(
      "no host agent",
    );
  });

  it.skipIf(process.platform === "win32")(
    "is needed in its place: a host whose file others may read does not start",
    async () => {
      await using mesh = await startHostMesh({ tracker: false });
      const file = path.join(mesh.folder, "secrets.json");
      await writeFile(file, "{}", { mode: 0o644 });
      const host = mesh.spawnHost("h1", { MESH_HOST_SECRETS: file });
      expect(await host.exitCode).not.toBe(0);
      expect(host.output()).toMatch(/secrets of this host: .*mode 644.*expected 600/);
      const missing = mesh.spawnHost("h2", { MESH_HOST_SECRETS: path.join(mesh.folder, "nowhere.json") });
      expect(await missing.exitCode).not.toBe(0);
      expect(missing.output()).toContain("cannot be read (ENOENT)");
    },
  );

  it.runIf(hasBubblewrap)("is said to keep nothing apart where attempts are in no sandbox", async () => {
    await using mesh = await startHostMesh({ tracker: false });
    const file = path.join(mesh.folder, "secrets.json");
    await writeFile(file, JSON.stringify({ A: { value: "0123456789", repositories: [] } }), { mode: 0o600 });
    const warning = "could read all of this host's secrets";
    const open = await mesh.host("h1", { MESH_HOST_SECRETS: file, MESH_HOST_SANDBOX: "0" });
    expect(open.output()).toContain(warning);
    const sandboxed = await mesh.host("h2", { MESH_HOST_SECRETS: file, MESH_HOST_SANDBOX: "1" });
    expect(sandboxed.output()).not.toContain(warning);
  });
});
