// The seam between an attempt and the trees it works on: where they lie is where its instance is, which need not be
// where the host agent is. Here are those on this machine's own disk.
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { VmReading } from "../../../shared/contracts/heartbeat.ts";
import { cachesIn, makeRoom, type Source } from "./cache.ts";
import { isShort } from "./cache-room.ts";
import { type DependencyUse, dependencyCaches } from "./dependency-caches.ts";
import { diskOf, isDiskFull } from "./disk.ts";
import type { KeptWorkspace, KeptWorkspaces } from "./kept-workspaces.ts";
import { type Applied, applyPatch, type Patch } from "./patch.ts";
import { type Prepared, type PreparedTree, prepareTree, removeTree, type TreeOptions } from "./tree.ts";

export interface WantedTree {
  attemptKey: string;
  /** Tells the attempt's trees apart. */
  name: string;
  source: Source;
  base: TreeOptions["base"];
  /** For what it is lent a dependency cache of its repository, if it is. */
  dependencies: DependencyUse | null;
}

/** Bytes, and the keys of the repositories in the cache. */
export interface WorkspaceReadings {
  disk: { totalBytes: number; freeBytes: number };
  caches: string[];
  /** Of the virtual machine that instances run in; left out where they run on the host agent's own machine. */
  vm?: VmReading;
}

export interface Workspaces {
  prepare(wanted: WantedTree, signal: AbortSignal): Promise<Prepared>;
  applyPatch(tree: PreparedTree, patch: Patch, signal: AbortSignal): Promise<Applied>;
  /**
   * Its trees are to be looked at by somebody later: until when they are kept, or null if they are not. Nothing of it may
   * run any more. Left out where nobody could look at them.
   */
  keep?(about: Omit<KeptWorkspace, "until">): Promise<string | null>;
  /** Every tree of the attempt; nothing of it may run any more. */
  remove(attemptKey: string): Promise<void>;
  /** Why work there fails, if it does. */
  isDiskFull(): Promise<boolean>;
  readings(): Promise<WorkspaceReadings>;
}

export interface WorkspacesOptions {
  cacheDir: string;
  dependenciesFolder: string;
  attemptsFolder: string;
  /** Where somebody may enter those that are kept. */
  kept?: KeptWorkspaces;
  allowFileClones: boolean;
}

export async function localWorkspaces(options: WorkspacesOptions): Promise<Workspaces> {
  const { cacheDir, attemptsFolder, allowFileClones, kept } = options;
  await mkdir(cacheDir, { recursive: true, mode: 0o700 });
  await mkdir(attemptsFolder, { recursive: true, mode: 0o700 });
  const dependencyCache = dependencyCaches(options.dependenciesFolder);
  const folderOf = (attemptKey: string) => path.join(attemptsFolder, attemptKey);
  return {
    async prepare({ attemptKey, name, source, base, dependencies }, signal) {
      const prepared = await prepareTree({
        cacheDir,
        attemptDir: path.join(folderOf(attemptKey), name),
        source,
        ...(base === undefined ? {} : { base }),
        allowFileClones,
        signal,
      });
      if (!prepared.ok || dependencies === null) return prepared;
      const lent = await dependencyCache.lend(attemptKey, source, dependencies);
      return lent === null ? prepared : { ok: true, tree: { ...prepared.tree, dependencies: lent } };
    },
    applyPatch,
    ...(kept && {
      async keep(about) {
        await dependencyCache.takeBack(about.attemptKey);
        return kept.keep(folderOf(about.attemptKey), about);
      },
    }),
    async remove(attemptKey) {
      await dependencyCache.takeBack(attemptKey);
      await removeTree(folderOf(attemptKey));
    },
    isDiskFull: () => isDiskFull(attemptsFolder),
    async readings() {
      const [disk, caches] = await Promise.all([diskOf(attemptsFolder), cachesIn(cacheDir)]);
      // A host that lacks the room for work would not come to making any by itself.
      if (isShort(disk)) void makeRoom(cacheDir).catch(() => {});
      return { disk, caches };
    },
  };
}
