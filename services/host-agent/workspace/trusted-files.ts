// What a coding agent or git would load by itself from a repository, in the base branch's version instead of the pull
// request's: whoever opens one must not be able to configure the agent that works on it. None of it is part of a patch.
import { realpath, rm } from "node:fs/promises";
import path from "node:path";
import { type GitOptions, type GitResult, git } from "../../../shared/repository/git.ts";
import { BASE_REF } from "./base-branch.ts";
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
  ".gemini",
  "GEMINI.md",
  ".opencode",
  "opencode.json",
  ".cursor",
  ".cursorrules",
  ".goosehints",
  ".aider.conf.yml",
  ".github/copilot-instructions.md",
];

/** Puts the base branch's into the place of those in the tree; without one they are only gone. Null: it went well. */
export async function trustBaseOnly(
  cache: string,
  tree: { workTree: string; gitDir: string },
  isThere: boolean,
  options: Pick<GitOptions, "signal">,
): Promise<GitResult | null> {
  for (const name of TRUSTED_PATHS) await removeWithin(tree.workTree, name);
  if (!isThere) return null;
  const inCache = (args: string[], env: Record<string, string> = {}) =>
    git(["--git-dir", cache, ...args], { ...options, env });
  const listed = await inCache(["ls-tree", "--name-only", "-z", BASE_REF, "--", ...TRUSTED_PATHS]);
  if (!listed.ok) return listed;
  const names = listed.stdout.split("\0").filter((name) => name !== "");
  if (names.length === 0) return null;
  // With an index of its own: what the patch is taken against stays at the commit.
  const index = { GIT_INDEX_FILE: path.join(tree.gitDir, "base-index"), GIT_WORK_TREE: tree.workTree };
  const checkedOut = await inCache(
    [...NO_LFS_FILTER, "checkout", "--quiet", BASE_REF, "--", ...names],
    index,
  );
  return checkedOut.ok ? null : checkedOut;
}

/** A folder on the way may be a link that leads out of the tree: what lies there is none of the tree's. */
async function removeWithin(workTree: string, name: string): Promise<void> {
  const file = path.join(workTree, name);
  const folder = await realpath(path.dirname(file)).catch(() => null);
  if (folder === null) return;
  const top = await realpath(workTree);
  if (folder === top || folder.startsWith(top + path.sep)) await rm(file, { recursive: true, force: true });
}
