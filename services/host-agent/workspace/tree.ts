// A work tree at an exact commit, made outside the instance: submodules and large files are fetched with the
// machine's credentials. It shares no object with the cache, nor with another tree: git has checked every one on
// its way here, and nothing done to this tree reaches the next. Once the attempt has run, no git of the host reads
// the tree's own `.git` any more.
import { constants } from "node:fs";
import { chmod, copyFile, cp, mkdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { branchProblem, cloneUrlProblem } from "../../../shared/contracts/clone-url.ts";
import { objectFormat } from "../../../shared/repository/cache-key.ts";
import { type GitOptions, type GitResult, git } from "../../../shared/repository/git.ts";
import { TEMPLATE_MAX_BYTES, templateFilesIn } from "../attempt/repository-configuration.ts";
import { BASE_REF, fetchBase, readBaseFile } from "./base-branch.ts";
import { keptRef, type Source, withCommit } from "./cache.ts";
import { fetchLargeFiles, NO_LFS_FILTER, ownStore, usesLargeFiles } from "./large-files.ts";
import { trustBaseOnly } from "./trusted-files.ts";

/** A repository's own word on how it is worked on. */
export const CONFIGURATION_FILE = ".agent-mesh.toml";
const CONFIGURATION_MAX_BYTES = 65_536;

export interface PreparedTree {
  workTree: string;
  /** The host's own git folder beside it, with an index at the commit: what a patch is taken against. */
  gitDir: string;
  home: string;
  temporary: string;
  /** What package managers keep between attempts, where one is lent. */
  dependencies?: string;
  base?: BaseBranch;
}

/** What the base branch says, where it was asked for. */
export interface BaseBranch {
  isThere: boolean;
  /** Its `.agent-mesh.toml`, if it has one. */
  configuration: string | null;
  /** Its files that this has templates in, by their paths; null for one that is not there. */
  templates: Record<string, string | null>;
}

export type Prepared =
  | { ok: true; tree: PreparedTree }
  | { ok: false; category: "source" | "setup" | "host"; permanent: boolean; message: string };

export interface TreeOptions {
  cacheDir: string;
  attemptDir: string;
  source: Source;
  allowFileClones: boolean;
  /** What the base branch says is asked for; `trusted`: what an agent would load by itself is the base branch's too. */
  base?: { trusted: boolean };
  signal: AbortSignal;
}

export async function prepareTree(options: TreeOptions): Promise<Prepared> {
  const problem = cloneUrlProblem(options.source.cloneUrl, options) ?? branchProblem(options.source.branch);
  if (problem !== null) return { ok: false, category: "source", permanent: true, message: problem };
  let complaint = "";
  const lent = await withCommit(options.cacheDir, options.source, options, async (cache) => {
    // Nothing that lay here before may have a say in it, whoever put it there.
    await removeTree(options.attemptDir);
    const filled = await fill(options, cache);
    if (filled.ok) return checkOut(options, cache);
    complaint = filled.stderr.trim() || "git was ended";
    return null;
  });
  if (!lent.ok) return { ok: false, category: "source", permanent: lent.permanent, message: lent.message };
  if (lent.used !== null) return lent.used;
  return { ok: false, category: "host", permanent: false, message: `no tree could be made: ${complaint}` };
}

/** Where everything of a tree lies in its folder. */
export const treeIn = (attemptDir: string): PreparedTree => ({
  workTree: path.join(attemptDir, "work"),
  gitDir: path.join(attemptDir, "git"),
  home: path.join(attemptDir, "home"),
  temporary: path.join(attemptDir, "tmp"),
});

/** The commit and its history into the tree's own git folder. */
async function fill({ attemptDir, source, signal }: TreeOptions, cache: string): Promise<GitResult> {
  const { gitDir } = treeIn(attemptDir);
  await mkdir(attemptDir, { recursive: true, mode: 0o700 });
  const format = `--object-format=${objectFormat(source.sha)}`;
  const made = await git(["init", "--quiet", "--bare", "--template=", format, gitDir], { signal });
  if (!made.ok) return made;
  const refspec = `${keptRef(source.sha)}:refs/heads/${source.branch}`;
  // Objects come as they lie in the cache: to look for a smaller form of each would take most of the time.
  const asIs = ["--upload-pack", "git -c pack.window=0 upload-pack"];
  const fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", ...asIs, "--", cache, refspec];
  return git(["--git-dir", gitDir, ...fetch], { allowFileClones: true, signal });
}

async function checkOut(options: TreeOptions, cache: string): Promise<Prepared> {
  const { attemptDir, source, allowFileClones, signal } = options;
  const tree = treeIn(attemptDir);
  await mkdir(tree.workTree);
  await mkdir(tree.home);
  await mkdir(tree.temporary);
  const base: GitOptions = { cwd: tree.workTree, allowFileClones, signal };
  const own = (args: string[]) =>
    git(args, { ...base, env: { GIT_DIR: tree.gitDir, GIT_WORK_TREE: tree.workTree } });

  await own(["config", "core.bare", "false"]);
  await own(["config", "remote.origin.url", source.cloneUrl]);
  await own(["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"]);
  const checkout = ["checkout", "--quiet", "--force", "--detach", source.sha, "--"];
  const checkedOut = await own([...NO_LFS_FILTER, ...checkout]);
  if (!checkedOut.ok) return failed("host", checkedOut);

  const hasLargeFiles = await usesLargeFiles(own);
  if (hasLargeFiles) await own(["lfs", "install", "--local", "--skip-smudge", "--skip-repo"]);
  // The attempt's own `.git`: whatever it does to this one, the other stays as it is.
  const treeGitDir = path.join(tree.workTree, ".git");
  await cp(tree.gitDir, treeGitDir, { recursive: true, mode: constants.COPYFILE_FICLONE });
  if (hasLargeFiles) {
    const inTree = (args: string[]) => git(args, base);
    if (source.isStrangers) {
      const found = await fetchBase(cache, source, { allowFileClones, signal });
      if (found.state === "unreachable") return baseProblem("source", found.message);
      const inCache = (args: string[]) => git(["--git-dir", cache, ...args], { signal });
      const branch = found.state === "there" ? BASE_REF : null;
      await inTree(["config", "lfs.url", await ownStore(inCache, branch, source.cloneUrl)]);
    }
    const problem = await fetchLargeFiles(inTree, cache, treeGitDir);
    if (problem !== null) return { ok: false, permanent: false, ...problem };
    // Which files are unchanged, it knows by their times.
    await copyFile(path.join(treeGitDir, "index"), path.join(tree.gitDir, "index"));
  }
  const submodules = await fetchSubmodules(
    tree,
    source.isStrangers ? { ...base, env: asAnybody(tree) } : base,
  );
  if (submodules !== null) return submodules;
  const problem = await askBase(options, cache, tree);
  return problem ?? { ok: true, tree };
}

async function askBase(options: TreeOptions, cache: string, tree: PreparedTree): Promise<Prepared | null> {
  const { base: wanted, source, allowFileClones, signal } = options;
  if (wanted === undefined) return null;
  const base = await fetchBase(cache, source, { allowFileClones, signal });
  if (base.state === "unreachable") return baseProblem("source", base.message);
  const isThere = base.state === "there";
  const read = isThere
    ? await readBaseFile(cache, CONFIGURATION_FILE, CONFIGURATION_MAX_BYTES, { signal })
    : { ok: true as const, text: null };
  if (!read.ok) return baseProblem("setup", read.message, true);
  const templates: BaseBranch["templates"] = {};
  for (const file of templateFilesIn(read.text)) {
    const template = await readBaseFile(cache, file, TEMPLATE_MAX_BYTES, { signal });
    if (!template.ok) return baseProblem("setup", template.message, true);
    templates[file] = template.text;
  }
  tree.base = { isThere, configuration: read.text, templates };
  const untrusted = wanted.trusted ? await trustBaseOnly(cache, tree, isThere, { signal }) : null;
  return untrusted === null ? null : failed("host", untrusted);
}

const baseProblem = (category: "source" | "setup", message: string, permanent = false): Prepared => ({
  ok: false,
  category,
  permanent,
  message: `the base branch: ${message}`,
});

/**
 * For a git that has none of this machine's credentials, neither of helpers nor of keys or files: else a pull request
 * could name a repository that only this machine may read, and have it laid into its own tree.
 */
const asAnybody = ({ home }: PreparedTree): Record<string, string> => ({
  HOME: home,
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_SYSTEM: "/dev/null",
  GIT_ASKPASS: "false",
  GIT_SSH_COMMAND: "false",
});

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
