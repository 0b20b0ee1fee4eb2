// Repositories, names and work that mean harm: nothing of theirs runs on the host outside the instance. What would be
// run leaves a mark; that it could is shown too.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { access, readdir, rm } from "node:fs/promises";
import path from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { branchProblem } from "../../shared/contracts/clone-url.ts";
import { startAttemptHost } from "../support/attempt.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { isRoot, WITHOUT_BUBBLEWRAP } from "../support/supervisor.ts";
import { gitIn, makeWorkspace, type Workspace } from "../support/workspace.ts";

let repository: Repository;
let workspace: Workspace;
let mark: string;
beforeEach(() => {
  repository = makeRepository();
  workspace = makeWorkspace();
  mark = path.join(workspace.folder, "mark");
});
afterEach(() => {
  vi.unstubAllEnvs();
  workspace[Symbol.dispose]();
  repository[Symbol.dispose]();
});

const isThere = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );
/** Where makeRepository does its commits. */
const sources = () => path.join(path.dirname(repository.path), "work");

describe("a name that git would take for something else", () => {
  it("of a clone URL or branch is refused for good before any git is started", async () => {
    const wanted = [
      { cloneUrl: `ext::sh -c touch%20${mark}` },
      { cloneUrl: `--upload-pack=touch ${mark}` },
      { cloneUrl: `ssh://-oProxyCommand=touch%20${mark}/x` },
      { cloneUrl: repository.path },
      { cloneUrl: repository.url, allowFileClones: false },
      { branch: `--upload-pack=touch ${mark}` },
      { branch: "../../outside" },
    ];
    for (const one of wanted)
      expect([one, await workspace.try(repository, one)]).toEqual([
        one,
        { ok: false, category: "source", permanent: true, message: expect.any(String) as string },
      ]);
    expect(await readdir(workspace.folder)).toEqual([]);
  });

  it("of a branch is judged as git judges it", () => {
    const pieces = fc.constantFrom(
      ...Array.from("a.é/-~^:?*[]\\@{}!"),
      "..",
      ".lock",
      "@{",
      "//",
      "HEAD",
      "\u0001",
      "\u007f",
      " ",
    );
    const anyName = fc.array(pieces, { minLength: 1, maxLength: 5 }).map((some) => some.join(""));
    fc.assert(
      fc.property(anyName, (name) => {
        const { status } = spawnSync("git", ["check-ref-format", `refs/heads/${name}`]);
        expect([name, branchProblem(name) === null]).toEqual([name, status === 0 && !/^-|^@$/.test(name)]);
      }),
      { numRuns: 150 },
    );
  });
});

describe("a repository", () => {
  it("whose attributes ask for filters and drivers gets none", async () => {
    const drivers = "* filter=evil diff=evil merge=evil text\n";
    const config = `[filter "evil"]\n  smudge = touch ${mark}\n  clean = touch ${mark}\n  required = true\n`;
    const files = { ".gitattributes": drivers, ".gitconfig": config, config: config };
    const tree = await workspace.prepare(repository, { sha: repository.commit(files) });
    expect(gitIn(tree, "status", "--porcelain")).toBe("");
    expect(await isThere(mark)).toBe(false);
  });

  it("runs no hook that this machine's user has configured for all repositories", async () => {
    const hooks = path.join(workspace.folder, "hooks");
    const hook = path.join(hooks, "post-checkout");
    execFileSync("sh", [
      "-c",
      'mkdir "$1"; printf "#!/bin/sh\\ntouch $2\\n" > "$3"; chmod +x "$3"',
      "sh",
      hooks,
      mark,
      hook,
    ]);
    const template = path.join(workspace.folder, "template");
    mkdirSync(template);
    symlinkSync(hooks, path.join(template, "hooks"));
    workspace.configureGit(`[core]\n  hooksPath = ${hooks}\n[init]\n  templateDir = ${template}\n`);
    execFileSync(hook);
    expect(await isThere(mark)).toBe(true);
    await rm(mark);
    const tree = await workspace.prepare(repository);
    expect(await isThere(mark)).toBe(false);
    expect(await isThere(path.join(tree.workTree, ".git", "hooks"))).toBe(false);
  });

  it.each([
    [
      "a command in the place of an update",
      (mark: string, url: string) => `url = ${url}\n  update = !touch ${mark}`,
    ],
    ["an option in the place of a URL", (mark: string) => `url = --upload-pack=touch ${mark}`],
    ["a transport helper", (mark: string) => `url = ext::sh -c touch% ${mark}`],
    ["an ssh option", (mark: string) => `url = ssh://-oProxyCommand=touch% ${mark}/x`],
  ])("with a submodule that is %s runs nothing", async (_, lines) => {
    mkdirSync(path.join(sources(), "sub"));
    repository.git("update-index", "--add", "--cacheinfo", `160000,${repository.baseSha},sub`);
    const sha = repository.commit({
      ".gitmodules": `[submodule "sub"]\n  path = sub\n  ${lines(mark, repository.url)}\n`,
    });
    expect(repository.git("ls-tree", sha, "sub")).toContain("commit");
    expect(await workspace.try(repository, { sha })).toMatchObject({ ok: false, category: "source" });
    expect(await isThere(mark)).toBe(false);
  });

  it.runIf(spawnSync("git", ["lfs", "version"]).status === 0)(
    "that tells git-lfs what to run is not listened to",
    async () => {
      const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"a".repeat(64)}\nsize 5\n`;
      vi.stubEnv("GIT_LFS_SKIP_PUSH", "1");
      const sha = repository.commit({
        ".gitattributes": "*.bin filter=lfs -text\n",
        "model.bin": pointer,
        ".lfsconfig": `[lfs]\n  standalonetransferagent = evil\n[lfs "customtransfer.evil"]\n  path = touch\n  args = ${mark}\n`,
      });
      expect(await workspace.try(repository, { sha })).toMatchObject({ ok: false, category: "source" });
      expect(await isThere(mark)).toBe(false);
    },
  );
});

describe("an attempt's work", () => {
  it("that sets traps in every git it can find runs nothing outside its instance", async ({ skip }) => {
    // In a sandbox it can find one only, its own.
    await using host = await startAttemptHost({ through: isRoot ? WITHOUT_BUBBLEWRAP : [] });
    if (host.hello.isolation !== "namespaces") skip("this machine has no namespaces: there is no outside");
    // Inside the instance there is /srv/mesh/work; outside there is not.
    const trap = `test -d /srv/mesh/work || touch ${mark}`;
    const words = `
      set -e
      printf '#!/bin/sh\\n${trap}\\ncat\\n' > /srv/mesh/home/trap; chmod +x /srv/mesh/home/trap
      real=$(grep ' /srv/mesh/work ' /proc/self/mountinfo | cut -d' ' -f4)
      attempt=$(dirname $(dirname $real)); test -d $attempt/work/git
      cp /srv/mesh/home/trap $attempt/trap
      mkdir -p $attempt/validation/git $attempt/validation/work
      git init -q --bare $attempt/validation/git
      for git in .git $attempt/work/git $attempt/validation/git; do
        mkdir -p $git/hooks
        for hook in post-checkout post-index-change reference-transaction pre-commit; do
          cp $attempt/trap $git/hooks/$hook
        done
        git --git-dir $git config core.fsmonitor $attempt/trap
        git --git-dir $git config core.hooksPath $git/hooks
        git --git-dir $git config filter.evil.clean $attempt/trap
        git --git-dir $git config filter.evil.smudge $attempt/trap
        git --git-dir $git config diff.external $attempt/trap
      done
      echo '* filter=evil diff=evil' > .gitattributes
      cp .git/config ~/.gitconfig
      echo more >> README.md
      grep -q 'trap' $attempt/work/git/config
      cp $attempt/trap ${mark}.trap`;
    const ended = await host.run(repository, { run: { command: words }, checks: ["grep more README.md"] });
    expect({ failure: ended.failure, exitCode: ended.result?.exitCode }).toEqual({
      failure: null,
      exitCode: 0,
    });
    expect(await isThere(mark)).toBe(false);
    execFileSync(`${mark}.trap`, { input: "" });
    expect(await isThere(mark)).toBe(true);
  });
});
