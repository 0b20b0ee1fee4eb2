// The work of an attempt as a patch: taken inside the instance, against the host's own git folder, and applied
// outside to a fresh tree.
import { stat } from "node:fs/promises";
import { git } from "./git.ts";
import type { PreparedTree } from "./tree.ts";

/** `git` twice, so that new files count: everything not ignored, against the commit. */
const TAKE = `git "$@" add --all -- . && git "$@" diff --cached --binary --full-index --no-color --no-ext-diff --no-textconv "$SHA" --`;

const CONFIG = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "core.untrackedCache=false",
  "advice.addEmbeddedRepo=false",
];

/** Argv and environment of the process that writes the patch to its stdout; paths as seen inside. */
export function patchCommand(inside: { workTree: string; gitDir: string; sha: string }): {
  argv: string[];
  env: Record<string, string>;
} {
  return {
    argv: ["/bin/sh", "-c", TAKE, "sh", ...CONFIG.flatMap((pair) => ["-c", pair])],
    env: {
      SHA: inside.sha,
      GIT_DIR: inside.gitDir,
      GIT_WORK_TREE: inside.workTree,
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_ATTR_NOSYSTEM: "1",
      LC_ALL: "C",
    },
  };
}

/** On a fresh tree, outside the instance. git refuses paths that lead out of it, or into `.git`. */
export async function applyPatch(
  tree: PreparedTree,
  patchFile: string,
  signal: AbortSignal,
): Promise<{ ok: true } | { ok: false; message: string }> {
  if ((await stat(patchFile)).size === 0) return { ok: true };
  const applied = await git(["apply", "--index", "--binary", "--whitespace=nowarn", "--", patchFile], {
    cwd: tree.workTree,
    env: { GIT_DIR: tree.gitDir, GIT_WORK_TREE: tree.workTree },
    signal,
  });
  return applied.ok ? { ok: true } : { ok: false, message: applied.stderr.trim() };
}
