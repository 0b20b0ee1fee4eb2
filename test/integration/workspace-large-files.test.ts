// Git LFS: a commit's large files in its tree, and an attempt's own on their way to the checks. Needs git-lfs, and says
// so where there is none.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ownStore } from "../../services/host-agent/workspace/large-files.ts";
import { applyPatch } from "../../services/host-agent/workspace/patch.ts";
import { startAttemptHost } from "../support/attempt.ts";
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

const hasLfs = spawnSync("git", ["lfs", "version"]).status === 0;

const CONTENT = "0123456789".repeat(5_000);
const lfs = { "filter.lfs.clean": "git-lfs clean -- %f", "filter.lfs.process": "git-lfs filter-process" };
const commitLargeFile = () => {
  for (const [name, value] of Object.entries(lfs)) repository.git("config", name, value);
  const sha = repository.commit({ ".gitattributes": "*.bin filter=lfs -text\n", "model.bin": CONTENT });
  repository.git("lfs", "push", "--all", "origin");
  return sha;
};
const modelOf = ({ workTree }: { workTree: string }) => readFile(path.join(workTree, "model.bin"), "utf8");

describe.runIf(hasLfs)("large files", () => {
  it("are there whole, and need neither cache nor remote any more", async () => {
    const sha = commitLargeFile();
    const tree = await workspace.prepare(repository, { sha });
    expect(await modelOf(tree)).toBe(CONTENT);
    expect(gitBeside(tree, "status", "--porcelain")).toBe("");
    await rm(workspace.cacheDir, { recursive: true });
    await rm(repository.path, { recursive: true });
    expect(gitIn(tree, "status", "--porcelain")).toBe("");
    expect(gitIn(tree, "lfs", "fsck")).toBe("Git LFS fsck OK");
    execFileSync("rm", ["model.bin"], { cwd: tree.workTree });
    gitIn(tree, "lfs", "checkout");
    expect(await modelOf(tree)).toBe(CONTENT);
  });

  it("come from the cache the next time", async () => {
    const sha = commitLargeFile();
    await workspace.prepare(repository, { sha });
    await rm(path.join(repository.path, "lfs"), { recursive: true });
    expect(await modelOf(await workspace.prepare(repository, { sha }))).toBe(CONTENT);
  });

  it("are what their name says: what was changed in the cache is fetched again", async () => {
    const sha = commitLargeFile();
    await workspace.prepare(repository, { sha });
    const [cached = ""] = await filesBelow(path.join(await workspace.cache(), "lfs"));
    // git-lfs links to the remote's own file where both lie on one disk.
    await rm(cached);
    await writeFile(cached, CONTENT.replace("0", "X"));
    expect(await modelOf(await workspace.prepare(repository, { sha }))).toBe(CONTENT);
  });

  it("that are nowhere are category source, in words that say which", async () => {
    const sha = commitLargeFile();
    await rm(path.join(repository.path, "lfs"), { recursive: true });
    const refused = await workspace.try(repository, { sha });
    expect(refused).toMatchObject({ ok: false, category: "source" });
    expect(refused).toHaveProperty("message", expect.stringMatching(/[0-9a-f]{64}/));
  });

  it("of a stranger come from the remote or where the base branch says, whatever their .lfsconfig names", async () => {
    const asked: string[] = [];
    const elsewhere = createServer((request, response) => {
      asked.push(request.url ?? "");
      response.writeHead(404).end();
    });
    elsewhere.listen(0, "127.0.0.1");
    await once(elsewhere, "listening");
    try {
      const { port } = elsewhere.address() as AddressInfo;
      const config = (name: string) => ({
        ".lfsconfig": `[lfs]\n\turl = http://127.0.0.1:${port}/${name}\n`,
      });
      commitLargeFile();
      // Nothing that blocks this process may ask the server, which is in it.
      repository.git("config", "--unset", "filter.lfs.process");
      repository.git("config", "core.hooksPath", "/dev/null");
      const sha = repository.commit(config("strangers"));
      // One of the team's own is obeyed.
      expect(await workspace.try(repository, { sha })).toMatchObject({ category: "source" });
      expect(asked).toContainEqual(expect.stringMatching(/^\/strangers/));
      asked.length = 0;
      expect(await modelOf(await workspace.prepare(repository, { sha, isStrangers: true }))).toBe(CONTENT);
      expect(asked).toEqual([]);
      repository.commit(config("base"), { branch: "main", from: "main" });
      await rm(workspace.cacheDir, { recursive: true });
      expect(await workspace.try(repository, { sha, isStrangers: true })).toMatchObject({
        category: "source",
      });
      expect(new Set(asked.map((url) => url.split("/")[1]))).toEqual(new Set(["base"]));
    } finally {
      elsewhere.closeAllConnections();
      elsewhere.close();
    }
  });

  it("ask for git-lfs by name where this machine lacks it", async () => {
    const sha = commitLargeFile();
    // A PATH on which git finds itself, and nothing else.
    const git = execFileSync("which", ["git"], { encoding: "utf8" }).trim();
    const bin = path.join(workspace.folder, "bin");
    execFileSync("sh", ["-c", 'mkdir "$1" && ln -s "$2" "$1/git"', "sh", bin, git]);
    vi.stubEnv("PATH", bin);
    const refused = await workspace.try(repository, { sha });
    expect(refused).toMatchObject({ ok: false, category: "setup" });
    expect(refused).toHaveProperty("message", expect.stringContaining("install git-lfs"));
  });
});

describe.runIf(hasLfs)("the patch of an attempt", () => {
  it("brings the large files it changes to the tree that is checked", async () => {
    const sha = commitLargeFile();
    await using host = await startAttemptHost();
    const change =
      "tr 0 X < model.bin > new.bin; mkdir sub; tr 0 Y < model.bin > sub/other.bin; cp new.bin model.bin";
    const { failure, taskId } = await host.run(repository, {
      sha,
      run: { command: `${change}; sha256sum *.bin */*.bin > sums` },
      checks: ["sha256sum --check --strict --quiet sums && head -c 10 model.bin"],
    });
    const said = Buffer.concat(await host.artifact(taskId, "check-1")).toString();
    expect({ failure, said }).toEqual({ failure: null, said: "X123456789" });
    expect(Buffer.concat(await host.artifact(taskId, "patch")).length).toBeLessThan(3_000);
  });

  it("takes from the work only what its names say", async () => {
    const sha = commitLargeFile();
    const worked = await workspace.prepare(repository, { sha });
    const fresh = await workspace.prepare(repository, { sha });
    const name = createHash("sha256").update("claimed").digest("hex");
    const store = path.join(worked.gitDir, "lfs", "objects", name.slice(0, 2), name.slice(2, 4));
    await mkdir(store, { recursive: true });
    await writeFile(path.join(store, name), "another");
    const file = path.join(workspace.folder, "patch");
    const lines = ["version https://git-lfs.github.com/spec/v1", `oid sha256:${name}`, "size 7"];
    const header = "diff --git a/evil.bin b/evil.bin\nnew file mode 100644\n--- /dev/null\n+++ b/evil.bin\n";
    await writeFile(file, `${header}@@ -0,0 +1,3 @@\n${lines.map((line) => `+${line}\n`).join("")}`);
    const patch = { file, gitDir: worked.gitDir };
    expect(await applyPatch(fresh, patch, new AbortController().signal)).toEqual({ ok: true });
    expect(await readFile(path.join(fresh.workTree, "evil.bin"), "utf8")).toBe(`${lines.join("\n")}\n`);
    expect(await modelOf(fresh)).toBe(CONTENT);
  });
});

it.each([
  ["https://git.example/a/b", "https://git.example/a/b.git/info/lfs"],
  ["https://me@git.example/a/b.git/", "https://me@git.example/a/b.git/info/lfs"],
  ["git@git.example:a/b.git", "git@git.example:a/b.git"],
])(
  "a stranger's large files at %s are fetched where git-lfs itself would look: %s",
  async (cloneUrl, store) => {
    const none = async () => ({ ok: false, exitCode: 1, stdout: "", stderr: "" });
    expect(await ownStore(none, null, cloneUrl)).toBe(store);
    expect(await ownStore(none, "refs/heads/main", cloneUrl)).toBe(store);
  },
);

it("large files were tested", ({ skip }) => {
  if (!hasLfs) skip("NOT TESTED: this machine has no git-lfs (apt install git-lfs)");
  expect(hasLfs).toBe(true);
});
