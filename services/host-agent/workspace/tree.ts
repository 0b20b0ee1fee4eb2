// A work tree at an exact commit, made outside the instance: objects are shared with the cache, submodules and
// large files are fetched with the machine's credentials. Once the attempt has run, no git of the host reads the
// tree's own `.git` any more.
import { chmod, cp, mkdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { branchProblem, cloneUrlProblem } from "../../../shared/contracts/clone-url.ts";
import { discardCache, fetchCommit, type Source } from "./cache.ts";
import { type GitOptions, type GitResult, git } from "./git.ts";

export interface PreparedTree {
  workTree: string;
  /** The host's own git folder beside it, with an index at the commit: what a patch is taken against. */
  gitDir: string;
  home: string;
}

export type Prepared =
  | { ok: true; tree: PreparedTree }
  | { ok: false; category: "source" | "setup" | "host"; permanent: boolean; message: string };

export interface TreeOptions {
  cacheDir: string;
  attemptDir: string;
  source: Source;
  allowFileClones: boolean;
  signal: AbortSignal;
}

export async function prepareTree(options: TreeOptions): Promise<Prepared> {
  const problem = cloneUrlProblem(options.source.cloneUrl, options) ?? branchProblem(options.source.branch);
  if (problem !== null) return { ok: false, category: "source", permanent: true, message: problem };
  for (const lastTry of [false, true]) {
    const fetched = await fetchCommit(options.cacheDir, options.source, options);
    if (!fetched.ok)
      return { ok: false, category: "source", permanent: fetched.permanent, message: fetched.message };
    const prepared = await checkOut(options, fetched.cache);
    if (prepared !== "cache is broken") return prepared;
    if (lastTry || options.signal.aborted) break;
    await discardCache(fetched.cache);
    await removeTree(options.attemptDir);
  }
  return { ok: false, category: "host", permanent: false, message: "the tree could not be checked out" };
}

async function checkOut(options: TreeOptions, cache: string): Promise<Prepared | "cache is broken"> {
  const { attemptDir, source, allowFileClones, signal } = options;
  const tree: PreparedTree = {
    workTree: path.join(attemptDir, "work"),
    gitDir: path.join(attemptDir, "git"),
    home: path.join(attemptDir, "home"),
  };
  await mkdir(tree.workTree, { recursive: true });
  await mkdir(tree.home, { recursive: true });
  const base: GitOptions = { cwd: tree.workTree, allowFileClones, signal };
  const own = (args: string[]) =>
    git(args, { ...base, env: { GIT_DIR: tree.gitDir, GIT_WORK_TREE: tree.workTree } });

  const made = await git(["init", "--quiet", "--bare", tree.gitDir], base);
  if (!made.ok) return failed("host", made);
  await writeFile(
    path.join(tree.gitDir, "objects", "info", "alternates"),
    `${path.join(cache, "objects")}\n`,
  );
  await own(["config", "core.bare", "false"]);
  await own(["config", "remote.origin.url", source.cloneUrl]);
  await own(["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"]);
  const checkedOut = await own([
    ...NO_LFS_FILTER,
    "checkout",
    "--quiet",
    "--force",
    "--detach",
    source.sha,
    "--",
  ]);
  if (!checkedOut.ok) return signal.aborted ? failed("host", checkedOut) : "cache is broken";
  await own(["update-ref", `refs/heads/${source.branch}`, source.sha]);

  const large = await fetchLargeFiles(own, cache);
  if (large !== null) return large;
  // The attempt's own `.git`: whatever it does to this one, the other stays as it is.
  await cp(tree.gitDir, path.join(tree.workTree, ".git"), { recursive: true });
  const submodules = await fetchSubmodules(tree, base);
  return submodules ?? { ok: true, tree };
}

const NO_LFS_FILTER = ["filter.lfs.smudge=", "filter.lfs.process=", "filter.lfs.required=false"].flatMap(
  (pair) => ["-c", pair],
);

async function fetchLargeFiles(
  own: (args: string[]) => Promise<GitResult>,
  cache: string,
): Promise<Prepared | null> {
  const used = await own([
    "grep",
    "--quiet",
    "--cached",
    "-e",
    "filter=lfs",
    "--",
    ":(glob)**/.gitattributes",
  ]);
  if (!used.ok) return null;
  if (!(await own(["lfs", "version"])).ok)
    return {
      ok: false,
      category: "setup",
      permanent: false,
      message: "the repository uses Git LFS, which this host lacks: install git-lfs there",
    };
  await own(["config", "lfs.storage", path.join(cache, "lfs")]);
  await own(["lfs", "install", "--local", "--skip-smudge"]);
  const pulled = await own(["lfs", "pull", "origin"]);
  if (!pulled.ok) return failed("source", pulled);
  await own(["update-index", "-q", "--refresh"]);
  return null;
}

/** Into the attempt's own `.git`, while nothing of the attempt has run yet. */
async function fetchSubmodules(tree: PreparedTree, base: GitOptions): Promise<Prepared | null> {
  const used = await stat(path.join(tree.workTree, ".gitmodules")).catch(() => null);
  if (used === null) return null;
  const updated = await git(["submodule", "--quiet", "update", "--init", "--recursive", "--checkout"], base);
  return updated.ok ? null : failed("source", updated);
}

const failed = (category: "source" | "host", { stderr }: GitResult): Prepared => ({
  ok: false,
  category,
  permanent: false,
  message: stderr.trim() || "git was ended",
});

/** Removes everything below, follows no link out, and is not stopped by what was made read-only. */
export async function removeTree(folder: string): Promise<void> {
  try {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  } catch {
    await chmod(folder, 0o700).catch(() => {});
    await execa("chmod", ["-R", "u+rwX", "--", folder], { reject: false, stdin: "ignore" });
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
