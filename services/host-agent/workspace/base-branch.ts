// The base branch of a pull request, by way of a cache that is lent: what a repository says of itself counts as that
// branch has it, whatever the pull request has there.
import { branchProblem } from "../../../shared/contracts/clone-url.ts";
import { type GitOptions, git } from "../../../shared/repository/git.ts";
import type { Source } from "./cache.ts";

/** Where the cache has it, until somebody fetches another one. */
export const BASE_REF = "refs/mesh/base";
const ASK_MS = 120_000;

/**
 * `missing`: the remote has no such branch; without a name it is the one that the remote calls its own. `unreachable`:
 * nobody can tell, and nothing may be taken for what it says.
 */
export type Base = { state: "there" } | { state: "missing" } | { state: "unreachable"; message: string };

export async function fetchBase(
  cache: string,
  { cloneUrl, baseBranch }: Pick<Source, "cloneUrl" | "baseBranch">,
  options: Pick<GitOptions, "allowFileClones" | "signal">,
): Promise<Base> {
  if (baseBranch !== undefined && branchProblem(baseBranch) !== null) return { state: "missing" };
  const name = baseBranch === undefined ? "HEAD" : `refs/heads/${baseBranch}`;
  const quietly = ["--quiet", "--no-tags", "--no-write-fetch-head"];
  const fetch = ["fetch", ...quietly, "--", cloneUrl, `+${name}:${BASE_REF}`];
  const fetched = await git(["--git-dir", cache, ...fetch], options);
  if (fetched.ok) return { state: "there" };
  const listed = await git(["ls-remote", "--", cloneUrl, name], { ...options, timeoutMs: ASK_MS });
  if (listed.ok && listed.stdout === "") return { state: "missing" };
  return { state: "unreachable", message: fetched.stderr.trim() || "git was ended" };
}

/** The text of a file of the branch, by its path from the top; null if there is none. A link or a folder is none. */
export async function readBaseFile(
  cache: string,
  name: string,
  maximumBytes: number,
  options: Pick<GitOptions, "signal">,
): Promise<{ ok: true; text: string | null } | { ok: false; message: string }> {
  const inCache = (...args: string[]) => git(["--git-dir", cache, ...args], options);
  const listed = await inCache("ls-tree", "--long", BASE_REF, "--", name);
  if (!listed.ok) return { ok: false, message: listed.stderr.trim() || "git was ended" };
  const [, blob, bytes] = /^100\d{3} blob ([0-9a-f]+) +(\d+)\t/.exec(listed.stdout) ?? [];
  if (blob === undefined) return { ok: true, text: null };
  if (Number(bytes) > maximumBytes)
    return { ok: false, message: `${name} has ${bytes} bytes; ${maximumBytes} are allowed` };
  const read = await inCache("cat-file", "blob", blob);
  return read.ok ? { ok: true, text: read.stdout } : { ok: false, message: read.stderr.trim() };
}
