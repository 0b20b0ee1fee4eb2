// The work of an attempt as a patch: taken inside the instance, against the host's own git folder, and applied
// outside to a fresh tree.
import { stat } from "node:fs/promises";
import path from "node:path";
import { git } from "../../../shared/repository/git.ts";
import { takeChangedFiles } from "./large-files.ts";
import type { PreparedTree } from "./tree.ts";

/** Begins a line that the command below writes to stderr about what the patch lacks. */
export const LEFT_OUT = "left out of the patch: ";

/** Exits so where a changed file is larger than git can put into a patch at all, and names it. */
export const HUGE_FILE = 64;
/** Below the 2 GiB at which it gives up. */
export const HUGE_BYTES = 1_073_741_824;

/**
 * `git` twice, so that new files count: everything not ignored, against the commit. A repository that the work has
 * made or cloned inside the tree is none of this one's: git would put a commit's name in its place that nobody can
 * fetch, or give up where it has no commit yet.
 */
const TAKE = `
huge=$(git "$@" ls-files -z --modified --others --exclude-standard | sed -z 's|^|./|' |
  xargs -0 -r sh -c 'find "$@" -maxdepth 0 -type f -size +${HUGE_BYTES / 1024}k 2> /dev/null' sh | head -n 1)
if test -n "$huge"; then printf '%s\\n' "$huge" >&2; exit ${HUGE_FILE}; fi
{
  printf '.\\0'
  for path in $LEAVE_OUT; do printf ":(top,exclude,literal)%s\\0" "$path"; done
  find . -mindepth 2 -name .git -prune -exec sh -c '
    for git in "$@"; do
      folder=\${git#./}; folder=\${folder%/.git}
      test -z "$(git ls-files -- ":(top,literal)$folder")" || continue
      printf ":(top,exclude,literal)%s\\0" "$folder"
      printf "${LEFT_OUT}%s is a repository of its own\\n" "$folder" >&2
    done' sh {} +
} | git "$@" add --all --pathspec-from-file=- --pathspec-file-nul &&
git "$@" diff --cached --binary --full-index --no-color --no-ext-diff --no-textconv "$SHA" --`;

const CONFIG = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "core.untrackedCache=false",
  "advice.addEmbeddedRepo=false",
];

/** Once the patch has been taken, the same as a commit: its tree is what was added to the index for that. */
const BUNDLE = `
commit=$(git "$@" commit-tree "$(git "$@" write-tree)" -p "$SHA" -m "$MESSAGE") &&
git "$@" update-ref "$REF" "$commit" && git "$@" bundle create --quiet - "$REF" "^$SHA"`;

/**
 * With an index and objects of its own, anew each time: one that is given up in the middle is in nobody's way, and a file
 * that changes again and again does not fill the disk.
 */
const TAKE_ASIDE = `
rm -rf "$GIT_INDEX_FILE" "$GIT_INDEX_FILE.lock" "$GIT_OBJECT_DIRECTORY"
mkdir "$GIT_OBJECT_DIRECTORY" && cp -p "$GIT_DIR/index" "$GIT_INDEX_FILE" || exit 1
${TAKE}`;

interface Inside {
  workTree: string;
  gitDir: string;
  sha: string;
}
interface ShellCommand {
  argv: string[];
  env: Record<string, string>;
}

/** Of the process that writes the patch to its stdout; paths as seen inside. */
export const patchCommand = (
  /** `leaveOut`: paths at the top of the tree that the patch says nothing of, without spaces in them. */
  { leaveOut = [], ...inside }: Inside & { leaveOut?: readonly string[] },
): ShellCommand => shellCommand(TAKE, inside, { LEAVE_OUT: leaveOut.join(" ") });

/** The same while the work goes on. */
export const passingPatchCommand = ({
  leaveOut = [],
  ...inside
}: Inside & { leaveOut?: readonly string[] }): ShellCommand =>
  shellCommand(TAKE_ASIDE, inside, {
    LEAVE_OUT: leaveOut.join(" "),
    GIT_INDEX_FILE: `${inside.gitDir}/passing-index`,
    GIT_OBJECT_DIRECTORY: `${inside.gitDir}/passing-objects`,
    GIT_ALTERNATE_OBJECT_DIRECTORIES: `${inside.gitDir}/objects`,
  });

/** Of the process that puts such a patch, from its stdin, onto a tree that nobody has worked on, but for some paths. */
export const restoreCommand = (leaveOut: readonly string[]): ShellCommand => ({
  argv: [
    "git",
    ...CONFIG.flatMap((pair) => ["-c", pair]),
    ...["apply", "--binary", "--whitespace=nowarn"],
    ...leaveOut.flatMap((path) => [`--exclude=${path}`, `--exclude=${path}/*`]),
    "-",
  ],
  env: { GIT_CONFIG_NOSYSTEM: "1", GIT_CONFIG_GLOBAL: "/dev/null", GIT_ATTR_NOSYSTEM: "1", LC_ALL: "C" },
});

/** Of the process that writes the work to its stdout as a git bundle: one commit on the one that it began with. */
export const bundleCommand = ({ taskId, ...inside }: Inside & { taskId: string }): ShellCommand =>
  shellCommand(BUNDLE, inside, {
    REF: `refs/heads/mesh/${taskId}`,
    MESSAGE: `Work of task ${taskId}`,
    ...Object.fromEntries(
      ["AUTHOR", "COMMITTER"].flatMap((role) => [
        [`GIT_${role}_NAME`, "agent-mesh"],
        [`GIT_${role}_EMAIL`, "agent-mesh@localhost"],
      ]),
    ),
  });

const shellCommand = (
  script: string,
  { workTree, gitDir, sha }: Inside,
  env: Record<string, string>,
): ShellCommand => ({
  argv: ["/bin/sh", "-c", script, "sh", ...CONFIG.flatMap((pair) => ["-c", pair])],
  env: {
    ...env,
    SHA: sha,
    GIT_DIR: gitDir,
    GIT_WORK_TREE: workTree,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    LC_ALL: "C",
  },
});

export interface Patch {
  file: string;
  /** The git folder that it was taken against: it holds the large files that the patch only names. */
  gitDir: string;
}

/** `host`: where the tree lies nothing could be done. */
export type Applied = { ok: true } | { ok: false; category: "gate" | "host"; message: string };

/**
 * On a fresh tree, outside the instance: the files become what git would check out of the commit with the patch.
 * git refuses paths that lead out of the tree, or into `.git`.
 */
export async function applyPatch(tree: PreparedTree, patch: Patch, signal: AbortSignal): Promise<Applied> {
  if ((await stat(patch.file)).size === 0) return { ok: true };
  const own = { GIT_DIR: tree.gitDir, GIT_WORK_TREE: tree.workTree };
  // Not onto the files themselves: those would be written by the rules for line ends that the patch may change.
  const aside = { ...own, GIT_INDEX_FILE: path.join(tree.gitDir, "patched") };
  const run = (args: string[], env: Record<string, string>) => git(args, { cwd: tree.workTree, env, signal });
  await run(["read-tree", "HEAD"], aside);
  const apply = ["apply", "--cached", "--binary", "--whitespace=nowarn", "--", patch.file];
  const applied = await run(apply, aside);
  if (!applied.ok) return refused(applied.stderr);
  const written = await run(["write-tree"], aside);
  const large = await takeChangedFiles(patch, path.join(tree.workTree, ".git", "lfs"));
  const checkOut = [...large.config, "read-tree", "--reset", "-u", written.stdout];
  const checkedOut = await run(checkOut, { ...own, ...large.env });
  return checkedOut.ok ? { ok: true } : refused(checkedOut.stderr);
}

const refused = (stderr: string): Applied => ({
  ok: false,
  category: "gate",
  message: `the patch does not apply: ${stderr.trim()}`,
});
