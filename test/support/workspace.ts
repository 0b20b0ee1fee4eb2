// A host's cache and attempt folders of a test's own, and trees prepared in them as an attempt does it. Everything
// goes with the workspace. It must hold no expectations.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Source } from "../../services/host-agent/workspace/cache.ts";
import { type Prepared, type PreparedTree, prepareTree } from "../../services/host-agent/workspace/tree.ts";
import { configureGit } from "./git-server.ts";
import type { Repository } from "./repository.ts";

interface Wanted extends Partial<Source> {
  attemptDir?: string;
  allowFileClones?: boolean;
  /** As where an agent is to work: with the base branch's settings. */
  trusted?: boolean;
  signal?: AbortSignal;
}

export interface Workspace extends Disposable {
  folder: string;
  cacheDir: string;
  /** What is asked for and not overridden is the head of the repository's branch. */
  try(repository: Repository, wanted?: Wanted): Promise<Prepared>;
  /** The tree; throws with the reason if there is none. */
  prepare(repository: Repository, wanted?: Wanted): Promise<PreparedTree>;
  /** The one bare repository in the cache. */
  cache(): Promise<string>;
  /** What this machine's user has in `~/.gitconfig`, until the test unstubs the environment. */
  configureGit(text: string): void;
}

export function makeWorkspace(): Workspace {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-workspace-"));
  const cacheDir = path.join(folder, "cache");
  let attempts = 0;
  const attempt = ({ url, branch, headSha }: Repository, wanted: Wanted = {}) => {
    const {
      attemptDir = path.join(folder, "attempts", String(++attempts)),
      allowFileClones = true,
      signal = new AbortController().signal,
      trusted,
      ...source
    } = wanted;
    return prepareTree({
      cacheDir,
      attemptDir,
      source: { cloneUrl: url, branch, sha: headSha, ...source },
      allowFileClones,
      ...(trusted === undefined ? {} : { base: { trusted } }),
      signal,
    });
  };
  return {
    folder,
    cacheDir,
    try: attempt,
    async prepare(repository, wanted) {
      const prepared = await attempt(repository, wanted);
      if (!prepared.ok) throw new Error(`no tree: ${prepared.category}: ${prepared.message}`);
      return prepared.tree;
    },
    async cache() {
      const [name = "", ...others] = await readdir(cacheDir);
      if (others.length > 0) throw new Error(`more than one cache: ${name} ${others.join(" ")}`);
      return path.join(cacheDir, name);
    },
    configureGit: (text) => configureGit(folder, text),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** git inside a tree, as the attempt's own command would call it. Throws when it fails. */
export const gitIn = ({ workTree }: PreparedTree, ...args: string[]): string =>
  execFileSync("git", args, { cwd: workTree, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();

/** The same against the host's own git folder of the tree. */
export const gitBeside = ({ workTree, gitDir }: PreparedTree, ...args: string[]): string =>
  execFileSync("git", args, {
    cwd: workTree,
    encoding: "utf8",
    env: { ...process.env, GIT_DIR: gitDir, GIT_WORK_TREE: workTree },
    stdio: ["ignore", "pipe", "pipe"],
  }).trim();

/** Full paths of all regular files below. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => path.join(parentPath, name));
}
