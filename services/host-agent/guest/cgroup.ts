// Control groups of attempts, where this process may make them: the freezer, memory limits, and a list of members
// that nobody leaves. Version 2, or version 1's hierarchies; none is no error.
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";

export interface CgroupSupport {
  /** Folder below which attempts' groups are made, for freezing. */
  freezer: { version: 1 | 2; parent: string } | null;
  /** The same for memory; null where no memory controller is to be had. */
  memory: { version: 1 | 2; parent: string } | null;
}

const ROOT = "/sys/fs/cgroup";

/** What this process may use, found out by trying it. */
export function findCgroups(tag: string): CgroupSupport {
  if (process.platform !== "linux") return { freezer: null, memory: null };
  const own = ownGroups();
  const unified = readable(`${ROOT}/cgroup.controllers`) ? ROOT : `${ROOT}/unified`;
  // A hierarchy is tried only where it is wanted: what a trial leaves behind is removed with the support only.
  const v2 = usable(path.join(unified, own.get("") ?? "/", tag), "cgroup.freeze");
  const version1 = (controller: string, file: string) => {
    const parent = usable(path.join(ROOT, controller, own.get(controller) ?? "/", tag), file);
    return parent === null ? null : { version: 1 as const, parent };
  };
  return {
    freezer: v2 !== null ? { version: 2, parent: v2 } : version1("freezer", "freezer.state"),
    memory:
      v2 !== null && enableMemory(v2)
        ? { version: 2, parent: v2 }
        : version1("memory", "memory.limit_in_bytes"),
  };
}

/** This process's group in each hierarchy, by controller; the unified one under "". */
function ownGroups(): Map<string, string> {
  const groups = new Map<string, string>();
  for (const line of (readable("/proc/self/cgroup") ?? "").trim().split("\n")) {
    const [, controllers = "", ...rest] = line.split(":");
    for (const controller of controllers.split(",")) groups.set(controller, rest.join(":"));
  }
  return groups;
}

/** The folder, once made and found to have the file; null otherwise. */
function usable(folder: string, file: string): string | null {
  try {
    mkdirSync(folder, { recursive: true });
    const probe = path.join(folder, "probe");
    mkdirSync(probe, { recursive: true });
    const found = readable(path.join(probe, file)) !== null;
    rmdirSync(probe);
    if (found) return folder;
    rmdirSync(folder);
  } catch {
    // Not permitted, or no such hierarchy.
  }
  return null;
}

/** Hands the memory controller down to the attempts' groups, where version 2 has one to hand. */
function enableMemory(parent: string): boolean {
  for (const folder of [path.dirname(parent), parent]) {
    if (!(readable(path.join(folder, "cgroup.controllers")) ?? "").split(/\s/).includes("memory"))
      return false;
    try {
      writeFileSync(path.join(folder, "cgroup.subtree_control"), "+memory");
    } catch {
      return false;
    }
  }
  return true;
}

export interface MemoryUse {
  outOfMemory: boolean;
  /** The most that was ever charged, file cache included; 0 where the kernel does not tell. */
  peakBytes: number;
  /** In use now, without what the kernel takes back once somebody needs the room. */
  neededBytes: number;
}

export interface Cgroup {
  /** Files into which a process writes itself to become a member. */
  readonly procsFiles: string[];
  members(): number[];
  /** Null where there is no freezer. */
  freeze: ((frozen: boolean) => void) | null;
  memory(): MemoryUse | null;
  /** The groups must be empty. */
  remove(): void;
}

export function createCgroup(support: CgroupSupport, name: string, memoryBytes: number | undefined): Cgroup {
  const { freezer, memory } = support;
  const folders = [
    ...new Set([freezer, memory].flatMap((one) => (one ? [path.join(one.parent, name)] : []))),
  ];
  for (const folder of folders) mkdirSync(folder, { recursive: true });
  const freezerFolder = freezer && path.join(freezer.parent, name);
  const memoryFolder = memory && path.join(memory.parent, name);
  if (memory && memoryFolder && memoryBytes !== undefined)
    limitMemory(memory.version, memoryFolder, memoryBytes);
  return {
    procsFiles: folders.map((folder) => path.join(folder, "cgroup.procs")),
    members: () => [...new Set(folders.flatMap(pidsIn))],
    freeze: freezer && freezerFolder ? (frozen) => setFreezer(freezer.version, freezerFolder, frozen) : null,
    memory: () => (memory && memoryFolder ? memoryUse(memory.version, memoryFolder) : null),
    remove: () => {
      for (const folder of folders) removeGroup(folder);
    },
  };
}

function limitMemory(version: 1 | 2, folder: string, bytes: number): void {
  const limit = String(bytes);
  if (version === 1) {
    writeFileSync(path.join(folder, "memory.limit_in_bytes"), limit);
    return;
  }
  writeFileSync(path.join(folder, "memory.max"), limit);
  // Where there is swap, it would only make the end slower.
  tryWrite(path.join(folder, "memory.swap.max"), "0");
  tryWrite(path.join(folder, "memory.oom.group"), "1");
}

/** File cache, and in version 2 what the kernel keeps of names and inodes. */
const RECLAIMABLE = {
  1: /^total_(?:in)?active_file (\d+)$/gm,
  2: /^(?:(?:in)?active_file|slab_reclaimable) (\d+)$/gm,
};

function memoryUse(version: 1 | 2, folder: string): MemoryUse {
  const read = (file: string) => readable(path.join(folder, `memory.${file}`)) ?? "";
  const events = read(version === 2 ? "events" : "oom_control");
  let neededBytes = Number(read(version === 2 ? "current" : "usage_in_bytes"));
  for (const [, bytes] of read("stat").matchAll(RECLAIMABLE[version])) neededBytes -= Number(bytes);
  return {
    outOfMemory: Number(/oom_kill (\d+)/.exec(events)?.[1] ?? 0) > 0,
    peakBytes: Number(read(version === 2 ? "peak" : "max_usage_in_bytes")),
    neededBytes: Math.max(0, neededBytes),
  };
}

const pidsIn = (folder: string): number[] =>
  (readable(path.join(folder, "cgroup.procs")) ?? "")
    .split("\n")
    .filter((line) => line !== "")
    .map(Number);

/** Groups of attempts below the supports' folders, with their members: what a former life may have left. */
export function leftGroups({ freezer, memory }: CgroupSupport): { folder: string; pids: number[] }[] {
  const parents = new Set([freezer?.parent, memory?.parent].filter((parent) => parent !== undefined));
  return [...parents].flatMap((parent) =>
    foldersIn(parent).map((folder) => ({ folder, pids: pidsIn(folder) })),
  );
}

/** None where the folder itself has been removed meanwhile. */
function foldersIn(parent: string): string[] {
  try {
    const entries = readdirSync(parent, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => path.join(parent, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Freezes or thaws all attempts at once, by the folder above their groups; false where there is no freezer. */
export function freezeAll({ freezer }: CgroupSupport, frozen: boolean): boolean {
  if (freezer === null) return false;
  setFreezer(freezer.version, freezer.parent, frozen);
  return true;
}

function setFreezer(version: 1 | 2, folder: string, frozen: boolean): void {
  if (version === 2) writeFileSync(path.join(folder, "cgroup.freeze"), frozen ? "1" : "0");
  else writeFileSync(path.join(folder, "freezer.state"), frozen ? "FROZEN" : "THAWED");
}

export function thawGroup(folder: string): void {
  tryWrite(path.join(folder, "cgroup.freeze"), "0");
  tryWrite(path.join(folder, "freezer.state"), "THAWED");
}

export function removeGroup(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

/** Removes the supports' own folders, if nothing is left in them. */
export function removeSupport({ freezer, memory }: CgroupSupport): void {
  for (const one of [freezer, memory]) if (one) removeGroup(one.parent);
}

function tryWrite(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch {
    // Not there, or not permitted: optional.
  }
}

function readable(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}
