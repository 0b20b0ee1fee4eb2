// What a coding agent or git would load by itself from a repository, in the base branch's version instead of the pull
// request's: whoever opens one must not be able to configure the agent that works on it. None of it is part of a patch.
import { rm } from "node:fs/promises";
import path from "node:path";
import { branchProblem } from "../../../shared/contracts/clone-url.ts";
import type { Source } from "./cache.ts";
import { type GitOptions, git } from "./git.ts";
import { NO_LFS_FILTER } from "./large-files.ts";

/** At the top of the tree. */
export const TRUSTED_PATHS = [
  ".claude",
  ".codex",
  ".mcp.json",
  ".claude.json",
  ".gitmodules",
  ".husky",
  "CLAUDE.md",
  "CLAUDE.local.md",
  "AGENTS.md",
];

/**
 * Puts the base branch's into the place of those in the tree, by way of the cache, which is lent. False if there is no
 * base branch to be had: then they are only gone.
 */
export async function trustBaseOnly(
  cache: string,
  tree: { workTree: string; gitDir: string },
  { cloneUrl, baseBranch }: Source,
  options: Pick<GitOptions, "allowFileClones" | "signal">,
): Promise<boolean> {
  for (const name of TRUSTED_PATHS)
    await rm(path.join(tree.workTree, name), { recursive: true, force: true });
  if (baseBranch !== undefined && branchProblem(baseBranch) !== null) return false;
  const inCache = (args: string[], env: Record<string, string> = {}) =>
    git(["--git-dir", cache, ...args], { ...options, env });
  // Without a name, the branch that the remote calls its own.
  const refspec =
    baseBranch === undefined ? "+HEAD:refs/mesh/base" : `+refs/heads/${baseBranch}:refs/mesh/base`;
  const quietly = ["--quiet", "--no-tags", "--no-write-fetch-head"];
  const fetched = await inCache(["fetch", ...quietly, "--", cloneUrl, refspec]);
  if (!fetched.ok) return false;
  const listed = await inCache(["ls-tree", "--name-only", "-z", "refs/mesh/base", "--", ...TRUSTED_PATHS]);
  const names = listed.stdout.split("\0").filter((name) => name !== "");
  if (!listed.ok || names.length === 0) return listed.ok;
  // With an index of its own: what the patch is taken against stays at the commit.
  const index = { GIT_INDEX_FILE: path.join(tree.gitDir, "base-index"), GIT_WORK_TREE: tree.workTree };
  const checkout = ["checkout", "--quiet", "refs/mesh/base", "--", ...names];
  return (await inCache([...NO_LFS_FILTER, ...checkout], index)).ok;
}
