// A patch as a commit on top of the one that it was made on. It happens in a bare repository with an index of its own:
// nothing is ever checked out, no hook runs, and who does it again gets the same commit.
import { stat } from "node:fs/promises";
import path from "node:path";
import type { PushGrant } from "../../../shared/config/mesh-config.ts";
import { PATCH_MAX_BYTES } from "../../../shared/contracts/artifact.ts";
import { type PushOutcome, park } from "../../../shared/contracts/push.ts";
import { type GitResult, git } from "../../../shared/repository/git.ts";
import { type Change, changesProblem, isLink } from "./judge.ts";

/** No file of a patch may become larger than this, whatever few bytes say that it is. */
const FILE_MAX = "256m";
/** git holds all files of a patch in memory at once, and 64 MiB may say that they are of many terabytes. */
export const APPLY_MEMORY_BYTES = 2 * 2 ** 30;
const APPLY_MS = 120_000;
const LINKS_MAX = 200;

export interface Patched {
  gitDir: string;
  patchFile: string;
  /** The commit that the patch was made on. */
  parent: string;
  message: string;
  /** Of the commit, ms since the epoch. */
  atMs: number;
  grant: PushGrant;
  signal: AbortSignal;
}

export async function commitPatch(
  patched: Patched,
): Promise<{ ok: true; commit: string } | { ok: false; parked: PushOutcome }> {
  const { gitDir, patchFile, parent, grant } = patched;
  const no = (parked: PushOutcome) => ({ ok: false as const, parked });
  if ((await stat(patchFile)).size > PATCH_MAX_BYTES) return no(park("unsafe", "the patch is too large"));
  const run = (args: string[], env: Record<string, string> = {}) =>
    git([...PLAINLY, ...args], {
      signal: patched.signal,
      timeoutMs: APPLY_MS,
      memoryBytes: APPLY_MEMORY_BYTES,
      cwd: gitDir,
      env: { ...APART, GIT_DIR: gitDir, GIT_INDEX_FILE: path.join(gitDir, "patched"), ...env },
    });
  const read = await run(["read-tree", parent]);
  const applied = read.ok
    ? await run(["apply", "--cached", "--binary", "--whitespace=nowarn", "--", patchFile])
    : read;
  if (!applied.ok) return no(park("does-not-apply", applied.stderr.trim().slice(-500)));
  // Half an answer is none: what git was not heard out on may be what is not allowed.
  const unclear = (failed: GitResult) =>
    no(park("unsafe", `what the patch changes cannot be told: ${failed.stderr.trim().slice(-500)}`));
  const written = await run(["write-tree"]);
  if (!written.ok) return unclear(written);
  const tree = written.stdout;

  const differing = (...args: string[]) =>
    run(["diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", ...args, parent, tree]);
  const listed = await differing("--raw", "--full-index");
  if (!listed.ok) return unclear(listed);
  const changes = changesIn(listed.stdout);
  if (changes.length === 0) return no(park("no-patch", "nothing was changed"));
  const links = changes.filter(isLink);
  if (links.length > LINKS_MAX) return no(park("unsafe", `the patch makes ${links.length} links`));
  const targets = new Map<string, string>();
  for (const link of links) {
    const target = await run(["cat-file", "blob", link.blob]);
    if (!target.ok) return unclear(target);
    targets.set(link.path, target.stdout);
  }
  const problem = changesProblem(changes, targets, grant);
  if (problem !== null) return no(problem);
  const large = await differing("--name-only", "--diff-filter=AMT", `-G${LFS_POINTER}`);
  if (!large.ok) return unclear(large);
  const [first = ""] = large.stdout.split("\0");
  if (first !== "")
    return no(park("large-files", `${first} names a file of Git LFS, whose content the patch does not have`));

  const { name, email } = grant.author;
  const date = `@${Math.floor(patched.atMs / 1_000)} +0000`;
  const committed = await run(["commit-tree", tree, "-p", parent, "-m", patched.message], {
    ...{ GIT_AUTHOR_NAME: name, GIT_AUTHOR_EMAIL: email, GIT_AUTHOR_DATE: date },
    ...{ GIT_COMMITTER_NAME: name, GIT_COMMITTER_EMAIL: email, GIT_COMMITTER_DATE: date },
  });
  if (!committed.ok) throw new Error(`no commit could be made: ${committed.stderr}`);
  return { ok: true, commit: committed.stdout };
}

/** The last two: packs, which may be large, take little of the memory that it may have. */
const PLAINLY = [
  "core.protectNTFS=true",
  "core.protectHFS=true",
  "core.packedGitWindowSize=64m",
  "core.packedGitLimit=256m",
].flatMap((pair) => ["-c", pair]);

/** Nothing of this machine's own settings has a say in what the commit is. */
const APART = {
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_ATTR_NOSYSTEM: "1",
  GIT_ALLOC_LIMIT: FILE_MAX,
};

/** A line that every pointer to a large file has, and that changes with the file. */
const LFS_POINTER = "^oid sha256:[0-9a-f]{64}$";

/** Of `--raw -z`: `:<mode> <mode> <blob> <blob> <status>`, then the path. */
function changesIn(raw: string): Change[] {
  const fields = raw.split("\0");
  const changes: Change[] = [];
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const [, mode = "", , blob = ""] = (fields[index] ?? "").split(" ");
    changes.push({ mode, blob, path: fields[index + 1] ?? "" });
  }
  return changes;
}
