// An attempt's work as a patch: taken from one tree by the very command that runs inside the instance, applied to a
// fresh one, which then holds the same files.
import { createHash } from "node:crypto";
import { readdir, readFile, readlink, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applyPatch, type Patch, patchCommand } from "../../services/host-agent/workspace/patch.ts";
import type { PreparedTree } from "../../services/host-agent/workspace/tree.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { gitBeside, gitIn, makeWorkspace, type Workspace } from "../support/workspace.ts";

const TEXT = Array.from({ length: 40 }, (_, line) => `line ${line}\n`).join("");
let repository: Repository;
let workspace: Workspace;
let prepared: PreparedTree;
beforeAll(async () => {
  repository = makeRepository({
    files: {
      "README.md": "# Shop\n",
      "src/sum.sh": "echo $(($1 - $2))\n",
      "src/long.txt": TEXT,
      "docs/old.txt": "old\n",
      "dos.txt": "one\r\ntwo\r\n",
      ".gitignore": "*.log\nbuild/\n",
    },
  });
  workspace = makeWorkspace();
  prepared = await workspace.prepare(repository);
});
afterAll(() => {
  workspace[Symbol.dispose]();
  repository[Symbol.dispose]();
});

let copies = 0;
/** Another tree of the same commit: preparing one costs many starts of git, and is not what is tested here. */
async function copyTree(): Promise<PreparedTree> {
  const copy = path.join(workspace.folder, "copies", String(++copies));
  await execa("mkdir", ["-p", path.dirname(copy)]);
  await execa("cp", ["-a", path.dirname(prepared.workTree), copy]);
  const within = (name: string) => path.join(copy, name);
  return { workTree: within("work"), gitDir: within("git"), home: within("home"), temporary: within("tmp") };
}

/** What a shell command in the tree does, as an attempt would. */
const work = ({ workTree }: PreparedTree, script: string) =>
  execa("sh", ["-ec", script], { cwd: workTree, env: { GIT_AUTHOR_DATE: "2020-01-01T00:00:00Z" } });

async function takePatch(tree: PreparedTree): Promise<Patch> {
  const { argv, env } = patchCommand({ ...tree, sha: gitBeside(tree, "rev-parse", "HEAD") });
  const [program = "", ...args] = argv;
  const { stdout } = await execa(program, args, {
    cwd: tree.workTree,
    env: { PATH: process.env.PATH, HOME: tree.home, ...env },
    extendEnv: false,
    encoding: "buffer",
    stripFinalNewline: false,
  });
  const file = `${tree.gitDir}.patch`;
  await writeFile(file, stdout);
  return { file, gitDir: tree.gitDir };
}

/** Everything in the tree but `.git`: kind, mode and content by path. */
async function filesOf({ workTree }: PreparedTree): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(workTree, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    const name = path.relative(workTree, file);
    if (entry.isDirectory() || name.split("/")[0] === ".git") continue;
    if (entry.isSymbolicLink()) files[name] = `link to ${await readlink(file)}`;
    else {
      const mode = (await stat(file)).mode & 0o111 ? "executable" : "plain";
      files[name] = `${mode} ${createHash("sha256")
        .update(await readFile(file))
        .digest("hex")}`;
    }
  }
  return files;
}

/** Does the work in one tree and applies its patch to another: both, and the patch. */
async function carryOver(script: string) {
  const worked = await copyTree();
  await work(worked, script);
  const taken = await takePatch(worked);
  const fresh = await copyTree();
  const applied = await applyPatch(fresh, taken, new AbortController().signal);
  return { worked, fresh, applied, patch: await readFile(taken.file, "latin1") };
}

const ALL_SORTS: Record<string, string> = {
  "an edit": "echo more >> README.md",
  "a new file, in new folders": "mkdir -p a/b && echo new > a/b/c.txt",
  "an empty new file": ": > empty.txt",
  "a file without a newline at its end": "printf none > none.txt && printf '# Shop' > README.md",
  "a deletion, with its folder": "rm -r docs",
  "a rename": "mv src/long.txt src/renamed.txt",
  "a rename with an edit": "mv src/long.txt moved.txt && echo more >> moved.txt",
  "a binary file": "head -c 5000 /dev/urandom > image.bin",
  "a binary file over a text": "head -c 5000 /dev/urandom > README.md",
  "a mode bit": "chmod +x src/sum.sh",
  "a link": "ln -s README.md link && ln -s /nowhere/at/all dangling",
  "a link over a file": "rm README.md && ln -s dos.txt README.md",
  "a folder over a file": "rm README.md && mkdir README.md && echo in > README.md/in.txt",
  "a file over a folder": "rm -r docs && echo file > docs",
  "line ends of another kind": "printf 'one\\r\\nTWO\\r\\n' > dos.txt && printf 'a\\r\\nb\\n' > mixed.txt",
  "strange names": "echo 1 > 'with blank' && echo 2 > 'tab\tand\"quote' && echo 3 > 'größe' && echo 4 > -n",
  "trailing blanks": "printf 'blank at the end   \\n\\n\\n' >> README.md",
  "rules for line ends":
    "echo 'do*/** text eol=crlf' > .gitattributes && printf 'old\r\nmore\r\n' > docs/old.txt",
  "a rule that hides differences": "echo '* -diff binary' > .gitattributes && echo more >> README.md",
};

describe("a patch", () => {
  it.each(Object.entries(ALL_SORTS))("carries %s over to a fresh tree", async (_, script) => {
    const { worked, fresh, applied } = await carryOver(script);
    expect(applied).toEqual({ ok: true });
    const files = await filesOf(worked);
    expect(files).not.toEqual(await filesOf(prepared));
    expect(await filesOf(fresh)).toEqual(files);
    expect(gitBeside(fresh, "write-tree")).toBe(gitBeside(worked, "write-tree"));
  });

  it("is empty when nothing was changed, and applies", async () => {
    const { patch, applied, fresh } = await carryOver("touch README.md; cat README.md");
    expect(patch).toBe("");
    expect(applied).toEqual({ ok: true });
    expect(gitIn(fresh, "status", "--porcelain")).toBe("");
  });

  it("leaves out what the repository ignores", async () => {
    const { patch, fresh } = await carryOver(
      "mkdir build && echo x > build/x && echo y > y.log && echo z > z",
    );
    expect(patch).not.toMatch(/build|y\.log/);
    expect(gitIn(fresh, "status", "--porcelain")).toBe("?? z");
  });

  it("holds the same whether the work was committed, staged, stashed away or left lying", async () => {
    const commit = "git -c user.name=x -c user.email=x@example.invalid commit -qam done";
    const edit = "echo more >> README.md && echo new > new.txt";
    const { patch: lying } = await carryOver(edit);
    expect(lying).toContain("+more");
    for (const then of ["git add -A", `git add -A && ${commit}`, `git add -A && ${commit} && git gc -q`])
      expect([then, (await carryOver(`${edit} && ${then}`)).patch]).toEqual([then, lying]);
    expect((await carryOver(`${edit} && git stash -q -u`)).patch).toBe("");
  });

  it("leaves out repositories that the work has made inside, and nothing beside them", async () => {
    const commit = "git -c user.name=x -c user.email=x@example.invalid commit -q --allow-empty -m x";
    const { patch, fresh, applied } = await carryOver(
      `git init -q empty; git init -q 'a "name"'; (cd 'a "name"' && echo x > x && git add x && ${commit});
       git worktree add -q deep/er HEAD; git init -q src; echo more >> src/sum.sh; echo new > src/new.sh; echo new > new.txt`,
    );
    expect(applied).toEqual({ ok: true });
    expect(patch.match(/^diff --git .*/gm)).toEqual([
      "diff --git a/new.txt b/new.txt",
      "diff --git a/src/new.sh b/src/new.sh",
      "diff --git a/src/sum.sh b/src/sum.sh",
    ]);
    expect(Object.keys(await filesOf(fresh))).toContain("src/new.sh");
  });

  it("is taken of the files, whatever the work did to its own git", async () => {
    const edit = "echo more >> README.md";
    const { patch: plain } = await carryOver(edit);
    for (const harm of [
      "rm -rf .git",
      "echo garbage > .git/index",
      "rm .git && true",
      "git config core.bare true",
    ])
      expect([harm, (await carryOver(`${edit}; ${harm} || true`)).patch]).toEqual([harm, plain]);
  });

  it("does not apply where it would leave the tree, or enter git's own folder", async () => {
    for (const [name, mode] of [
      ["../../outside.txt", "100644"],
      [".git/hooks/post-checkout", "100755"],
      ["link/outside.txt", "100644"],
    ]) {
      const tree = await copyTree();
      const file = `${tree.gitDir}.patch`;
      const link = `diff --git a/link b/link\nnew file mode 120000\n--- /dev/null\n+++ b/link\n@@ -0,0 +1 @@\n+..\n\\ No newline at end of file\n`;
      const patch = `diff --git a/${name} b/${name}\nnew file mode ${mode}\n--- /dev/null\n+++ b/${name}\n@@ -0,0 +1 @@\n+owned\n`;
      await writeFile(file, `${link}${patch}`);
      const applied = await applyPatch(tree, { file, gitDir: tree.gitDir }, new AbortController().signal);
      expect([name, applied.ok]).toEqual([name, false]);
      expect(gitIn(tree, "status", "--porcelain")).toBe("");
    }
  });

  it("that does not fit is told with the file it does not fit", async () => {
    const tree = await workspace.prepare(repository, { sha: repository.baseSha });
    const file = `${tree.gitDir}.patch`;
    await writeFile(
      file,
      "diff --git a/README.md b/README.md\n--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-other\n+more\n",
    );
    const applied = await applyPatch(tree, { file, gitDir: tree.gitDir }, new AbortController().signal);
    expect(applied).toMatchObject({ ok: false, message: expect.stringContaining("README.md") as string });
  });
});
