// Trees at an exact commit, from real repositories by a real git: which commit is there, and what the tree still
// needs of the cache (nothing).
import { mkdir, readdir, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CACHES_KEPT } from "../../services/host-agent/workspace/cache-room.ts";
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

const NOWHERE = "f".repeat(40);
const featureOf = ({ workTree }: { workTree: string }) =>
  readFile(path.join(workTree, "feature.txt"), "utf8");

describe("a tree", () => {
  it("is at the exact commit, whatever the branch has moved on to", async () => {
    const tip = repository.commit({ "feature.txt": "newer\n" });
    const tree = await workspace.prepare(repository, { sha: repository.headSha });
    expect(gitIn(tree, "rev-parse", "HEAD", repository.branch)).toBe(
      `${repository.headSha}\n${repository.headSha}`,
    );
    expect(await featureOf(tree)).toBe("new\n");
    expect(gitIn(tree, "status", "--porcelain")).toBe("");
    expect(await featureOf(await workspace.prepare(repository, { sha: tip }))).toBe("newer\n");
  });

  it("is made of a commit that a force push has left behind, once this host has seen it", async () => {
    await workspace.prepare(repository);
    repository.commit({ "feature.txt": "rewritten\n" }, { from: repository.baseSha });
    repository.git("--git-dir", repository.path, "gc", "--quiet", "--prune=now");
    expect(await featureOf(await workspace.prepare(repository))).toBe("new\n");
    using elsewhere = makeWorkspace();
    expect(await elsewhere.try(repository)).toMatchObject({ ok: false, category: "source", permanent: true });
  });

  it("is made of a commit that only the pull request's ref leads to", async () => {
    repository.commit({ "feature.txt": "newer\n" });
    repository.git("push", "-q", "origin", `:${repository.branch}`);
    // The older protocol gives nothing that no ref names: the commit has to be found through one.
    workspace.configureGit("[protocol]\n  version = 0\n");
    expect(await workspace.try(repository)).toMatchObject({ ok: false, category: "source", permanent: true });
    const tree = await workspace.prepare(repository, { prNumber: 7 });
    expect(gitIn(tree, "rev-parse", "HEAD")).toBe(repository.headSha);
  });

  it("is refused for good when the commit is nowhere, in words that name it", async () => {
    await workspace.prepare(repository);
    expect(await workspace.try(repository, { sha: NOWHERE, prNumber: 8 })).toEqual({
      ok: false,
      category: "source",
      permanent: true,
      message: `${repository.url} has no commit ${NOWHERE}`,
    });
  });

  it("is refused for good when the name is that of a file's content, or of a tree", async () => {
    for (const inside of ["HEAD:feature.txt", "HEAD^{tree}"]) {
      const sha = repository.git("rev-parse", inside);
      expect(await workspace.try(repository, { sha })).toMatchObject({ ok: false, permanent: true });
    }
  });

  it("may be had another time when the repository cannot be reached", async () => {
    const cloneUrl = `${repository.url}-gone`;
    const refused = await workspace.try(repository, { cloneUrl });
    expect(refused).toMatchObject({ ok: false, category: "source", permanent: false });
    expect(refused).toHaveProperty("message", expect.stringContaining(`${cloneUrl} cannot be fetched: `));
  });

  it("is made of a repository whose objects are named by SHA-256", async () => {
    using modern = makeRepository({ objectFormat: "sha256" });
    expect(modern.headSha).toHaveLength(64);
    const tree = await workspace.prepare(modern);
    expect(gitIn(tree, "rev-parse", "HEAD")).toBe(modern.headSha);
    expect(gitBeside(tree, "status", "--porcelain")).toBe("");
    // A name of the other length is no reason to take the repository for another one.
    expect(await workspace.try(modern, { sha: NOWHERE })).toMatchObject({ ok: false, category: "source" });
    expect(gitIn(await workspace.prepare(modern), "rev-parse", "HEAD")).toBe(modern.headSha);
  });

  it("begins afresh where something lies already", async () => {
    const { workTree } = await workspace.prepare(repository);
    const attemptDir = path.dirname(workTree);
    await writeFile(path.join(workTree, "left.txt"), "");
    await writeFile(path.join(attemptDir, "git", "config"), "[core]\n  fsmonitor = touch owned\n");
    const tree = await workspace.prepare(repository, { attemptDir });
    expect(tree.workTree).toBe(workTree);
    expect(gitIn(tree, "status", "--porcelain")).toBe("");
    expect(gitBeside(tree, "config", "--local", "--list")).not.toContain("fsmonitor");
  });
});

describe("the cache", () => {
  it("may be deleted under a tree, which has its commit and history itself", async () => {
    const tree = await workspace.prepare(repository);
    await rm(workspace.cacheDir, { recursive: true });
    for (const git of [gitIn, gitBeside]) {
      expect(git(tree, "fsck", "--full", "--strict")).toBe("");
      expect(git(tree, "log", "--format=%H")).toBe(`${repository.headSha}\n${repository.baseSha}`);
      expect(git(tree, "status", "--porcelain")).toBe("");
    }
  });

  it("shares no file with a tree: what is done to one does not reach the other", async () => {
    const { workTree } = await workspace.prepare(repository);
    const files = await filesBelow(path.dirname(workTree));
    expect(files.length).toBeGreaterThan(10);
    for (const file of files) expect([file, (await stat(file)).nlink]).toEqual([file, 1]);
  });

  it("is tidied without harm to trees and to what was fetched", async () => {
    const tree = await workspace.prepare(repository);
    repository.git("--git-dir", await workspace.cache(), "gc", "--quiet", "--prune=now");
    expect(gitIn(tree, "fsck", "--full")).toBe("");
    await rm(repository.path, { recursive: true });
    expect(await featureOf(await workspace.prepare(repository))).toBe("new\n");
  });

  it("serves attempts at once, of one commit and of several", async () => {
    const shas = [
      repository.headSha,
      repository.headSha,
      repository.baseSha,
      repository.commit({ "a.txt": "" }),
    ];
    const trees = await Promise.all(shas.map((sha) => workspace.prepare(repository, { sha })));
    expect(trees.map((tree) => gitIn(tree, "rev-parse", "HEAD"))).toEqual(shas);
    expect(trees.map((tree) => gitIn(tree, "status", "--porcelain"))).toEqual(["", "", "", ""]);
    await workspace.cache();
  });

  it("goes on after a git that was killed in it, without asking the remote anew", async () => {
    await workspace.prepare(repository);
    const cache = await workspace.cache();
    const left = [
      "objects/pack/tmp_pack_a1b2c3",
      "packed-refs.lock",
      `refs/mesh/keep/${repository.headSha}.lock`,
    ].map((name) => path.join(cache, name));
    for (const file of left) await writeFile(file, "half");
    await rm(repository.path, { recursive: true });
    expect(await featureOf(await workspace.prepare(repository))).toBe("new\n");
    const files = await filesBelow(cache);
    expect(files.filter((file) => left.includes(file))).toEqual([]);
  });

  it("heals when its objects are cut short, gone or something else, or its own files are", async () => {
    await workspace.prepare(repository);
    const cache = await workspace.cache();
    const fileOf = (name: string) => path.join(cache, "objects", name.slice(0, 2), name.slice(2));
    const blob = fileOf(repository.git("rev-parse", "HEAD:feature.txt"));
    const other = fileOf(repository.git("rev-parse", "HEAD:README.md"));
    const harms = {
      cut: () => truncate(fileOf(repository.headSha), 4),
      gone: () => rm(blob),
      exchanged: async () => {
        const content = await readFile(other);
        await rm(blob);
        await writeFile(blob, content);
      },
      "a commit less": () => rm(fileOf(repository.baseSha)),
      head: () => writeFile(path.join(cache, "HEAD"), "garbage"),
    };
    for (const [harm, inflict] of Object.entries(harms)) {
      await inflict();
      const tree = await workspace.prepare(repository);
      expect([harm, await featureOf(tree)]).toEqual([harm, "new\n"]);
      expect([harm, gitIn(tree, "fsck", "--full")]).toEqual([harm, ""]);
    }
  });

  it("heals when it lacks the very commit that is asked for, and has what came after it", async () => {
    const { headSha: asked } = repository;
    const later = repository.commit({ "feature.txt": "newer\n" });
    repository.commit({ "feature.txt": "newest\n" });
    // By the older protocol all branches come along: the cache then takes itself for complete.
    workspace.configureGit("[protocol]\n  version = 0\n");
    await workspace.prepare(repository, { sha: later });
    await rm(path.join(await workspace.cache(), "objects", asked.slice(0, 2), asked.slice(2)));
    expect(await featureOf(await workspace.prepare(repository, { sha: asked }))).toBe("new\n");
  });

  it("gives way, the one used longest ago first, when there are more than a host keeps", async () => {
    for (let number = 1; number <= CACHES_KEPT; number++) {
      const other = path.join(workspace.cacheDir, `other-${number}.git`);
      await mkdir(other, { recursive: true });
      await writeFile(path.join(other, "HEAD"), "");
      await utimes(path.join(other, "HEAD"), number, number);
    }
    expect(await featureOf(await workspace.prepare(repository))).toBe("new\n");
    const kept = await readdir(workspace.cacheDir);
    expect(kept).toHaveLength(CACHES_KEPT);
    expect(kept).not.toContain("other-1.git");
    expect(kept).toContain("other-2.git");
  });
});
