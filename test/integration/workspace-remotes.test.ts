// Remotes that want a password, hang, or lead on to others by submodules: what this machine's own credentials reach,
// and that nothing of them stays in the tree.
import { readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { rememberPassword, startGitServer, startSilentServer } from "../support/git-server.ts";
import { untilGone } from "../support/mesh-program.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { filesBelow, gitBeside, gitIn, makeWorkspace, type Workspace } from "../support/workspace.ts";

let repository: Repository;
let workspace: Workspace;
beforeEach(() => {
  repository = makeRepository();
  workspace = makeWorkspace();
});
afterEach(() => {
  vi.unstubAllEnvs();
  workspace[Symbol.dispose]();
  repository[Symbol.dispose]();
});

const ALICE = { user: "alice", password: "hunter2-swordfish" };

describe("a private repository", () => {
  it("is cloned with this machine's own git credentials, of which the tree keeps nothing", async () => {
    await using server = await startGitServer(path.dirname(repository.path), ALICE);
    await rememberPassword(workspace.folder, server, ALICE);
    const cloneUrl = `${server.url}/origin.git`;
    const tree = await workspace.prepare(repository, { cloneUrl, allowFileClones: false });
    expect(gitIn(tree, "rev-parse", "HEAD")).toBe(repository.headSha);
    expect(gitIn(tree, "remote", "get-url", "origin")).toBe(cloneUrl);
    expect(server.answers).toContain(401);
    const words = [ALICE.password, Buffer.from(`${ALICE.user}:${ALICE.password}`).toString("base64")];
    const files = [
      ...(await filesBelow(path.dirname(tree.workTree))),
      ...(await filesBelow(workspace.cacheDir)),
    ];
    expect(files.length).toBeGreaterThan(20);
    for (const file of files) {
      const content = await readFile(file, "latin1");
      expect([file, words.some((word) => content.includes(word))]).toEqual([file, false]);
    }
  });

  it.each([
    ["a wrong password", { user: "alice", password: "letmein-please" }],
    ["no password", null],
  ])("is refused in words without a secret when the machine has %s, and asks nobody", async (_, known) => {
    await using server = await startGitServer(path.dirname(repository.path), ALICE);
    if (known === null) workspace.configureGit("");
    else await rememberPassword(workspace.folder, server, known);
    const refused = await workspace.try(repository, { cloneUrl: `${server.url}/origin.git` });
    expect(refused).toMatchObject({ ok: false, category: "source", permanent: false });
    expect(refused).toHaveProperty("message", expect.stringContaining(`${server.url}/origin.git`));
    expect(JSON.stringify(refused)).not.toContain("letmein");
  });
});

describe("a remote that hangs", () => {
  it("is given up with the attempt's time, and no git stays behind", async () => {
    await using silent = await startSilentServer();
    const timeUp = new AbortController();
    const trying = workspace.try(repository, { cloneUrl: silent.url, signal: timeUp.signal });
    await vi.waitUntil(() => silent.callers() > 0, { timeout: 30_000 });
    timeUp.abort();
    expect(await trying).toMatchObject({ ok: false, category: "source", permanent: false });
    expect(await untilGone(silent.url)).toEqual([]);
  });

  it("keeps nobody waiting for the same cache longer than that one's own time", async () => {
    await using silent = await startSilentServer();
    const first = new AbortController();
    const hanging = workspace.try(repository, { cloneUrl: silent.url, signal: first.signal });
    await vi.waitUntil(() => silent.callers() > 0, { timeout: 30_000 });
    const second = new AbortController();
    const waiting = workspace.try(repository, { cloneUrl: silent.url, signal: second.signal });
    second.abort();
    expect(await waiting).toMatchObject({ ok: false, category: "source", permanent: false });
    // Whoever comes then still waits for the first.
    const third = new AbortController();
    const next = workspace.try(repository, { cloneUrl: silent.url, signal: third.signal });
    await workspace.prepare(repository);
    expect(silent.callers()).toBe(1);
    first.abort();
    await hanging;
    await vi.waitUntil(() => silent.callers() > 1, { timeout: 30_000 });
    third.abort();
    await next;
  });
});

describe("submodules", () => {
  /** Added from this disk; `url` is where others are told to find it. */
  const addSubmodule = (library: Repository, url = library.url) => {
    repository.git("submodule", "--quiet", "add", library.url, "lib");
    repository.git("config", "--file", ".gitmodules", "submodule.lib.url", url);
    return repository.commit({});
  };

  it("are there at their commit, and need neither cache nor remote any more", async () => {
    using library = makeRepository({ files: { "lib.sh": "echo library\n" } });
    const sha = addSubmodule(library);
    library.commit({ "lib.sh": "echo newer\n" }, { branch: "main" });
    const tree = await workspace.prepare(repository, { sha });
    await rm(workspace.cacheDir, { recursive: true });
    await rm(library.path, { recursive: true });
    expect(await readFile(path.join(tree.workTree, "lib", "lib.sh"), "utf8")).toBe("echo library\n");
    expect(gitIn(tree, "submodule", "status")).toMatch(new RegExp(`^${library.baseSha} lib`));
    expect(gitIn(tree, "status", "--porcelain")).toBe("");
    expect(gitBeside(tree, "status", "--porcelain")).toBe("");
  });

  it("are cloned with this machine's credentials too, of which their git keeps nothing", async () => {
    using library = makeRepository();
    await using server = await startGitServer(path.dirname(library.path), ALICE);
    await rememberPassword(workspace.folder, server, ALICE);
    const sha = addSubmodule(library, `${server.url}/origin.git`);
    const { workTree } = await workspace.prepare(repository, { sha });
    expect(await readFile(path.join(workTree, "lib", "README.md"), "utf8")).toBe("# Shop\n");
    for (const file of await filesBelow(path.dirname(workTree)))
      expect([file, (await readFile(file, "latin1")).includes(ALICE.password)]).toEqual([file, false]);
  });

  it("of a stranger's are what anybody could clone, and nothing that only this machine may", async () => {
    using library = makeRepository();
    await using server = await startGitServer(path.dirname(library.path), ALICE);
    await rememberPassword(workspace.folder, server, ALICE);
    await writeFile(
      path.join(workspace.folder, ".netrc"),
      `machine 127.0.0.1 login alice password ${ALICE.password}\n`,
    );
    vi.stubEnv("HOME", workspace.folder);
    const anybodys = addSubmodule(library);
    const { workTree } = await workspace.prepare(repository, { sha: anybodys, isStrangers: true });
    expect(await readFile(path.join(workTree, "lib", "README.md"), "utf8")).toBe("# Shop\n");
    repository.git("config", "--file", ".gitmodules", "submodule.lib.url", `${server.url}/origin.git`);
    const sha = repository.commit({});
    expect(await workspace.try(repository, { sha, isStrangers: true })).toMatchObject({ category: "source" });
    expect(server.answers.every((status) => status === 401)).toBe(true);
    expect(server.answers).not.toEqual([]);
  });

  it("that lead to this machine's disk are refused where the repository itself may not", async () => {
    using library = makeRepository();
    const sha = addSubmodule(library);
    await using server = await startGitServer(path.dirname(repository.path), ALICE);
    await rememberPassword(workspace.folder, server, ALICE);
    const cloneUrl = `${server.url}/origin.git`;
    const refused = await workspace.try(repository, { cloneUrl, sha, allowFileClones: false });
    expect(refused).toMatchObject({ ok: false, category: "source" });
    expect(refused).toHaveProperty("message", expect.stringContaining("transport 'file' not allowed"));
  });
});
