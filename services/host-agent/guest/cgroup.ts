// Control groups of attempts, where this process may make them: the freezer, memory limits, and a list of members
// that nobody leaves. Version 2, or version 1's hierarchies; none is no error.
import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import {
  CPU_TIME_FILE,
  cpuTimeMs,
  forksRefused,
  type GroupAt,
  type Limits,
  limitCpu,
  limitMemory,
  limitProcesses,
  type MemoryUse,
  memoryUse,
  readable,
  tryWrite,
} from "./cgroup-limits.ts";

/** A folder below which attempts' groups are made. */
interface Place {
  version: 1 | 2;
  parent: string;
}

/** Null where there is no such controller to be had. */
export type CgroupSupport = Record<"freezer" | "cpuTime" | Controller, Place | null>;

/** By its name, and the file that tells of it in version 1. */
const CONTROLLERS = {
  memory: ["memory", "memory.limit_in_bytes"],
  processes: ["pids", "pids.max"],
  cpu: ["cpu", "cpu.cfs_quota_us"],
} as const;
type Controller = keyof typeof CONTROLLERS;

const ROOT = "/sys/fs/cgroup";

/** What this process may use, found out by trying it. */
export function findCgroups(tag: string): CgroupSupport {
  if (process.platform !== "linux")
    return { freezer: null, cpuTime: null, memory: null, processes: null, cpu: null };
  const own = ownGroups();
  // A hierarchy is tried only where it is wanted: what a trial leaves behind is removed with the support only.
  const version2 = findVersion2(own.get("") ?? "/", tag);
  const version1 = (controller: string, file: string): Place | null => {
    const parent = usable(path.join(ROOT, controller, own.get(controller) ?? "/", tag), file);
    return parent === null ? null : { version: 1, parent };
  };
  const placeOf = (controller: Controller): Place | null => {
    const [name, file] = CONTROLLERS[controller];
    if (version2?.controllers.has(name)) return { version: 2, parent: version2.parent };
    return version1(name, file);
  };
  return {
    freezer: version2 ? { version: 2, parent: version2.parent } : version1("freezer", "freezer.state"),
    // Version 2 counts it in every group, whoever holds the controller.
    cpuTime:
      version2 && readable(path.join(version2.parent, CPU_TIME_FILE[2])) !== null
        ? { version: 2, parent: version2.parent }
        : version1("cpuacct", CPU_TIME_FILE[1]),
    memory: placeOf("memory"),
    processes: placeOf("processes"),
    cpu: placeOf("cpu"),
  };
}

/**
 * Below this process's own group; or at the top, where that one has no controllers to hand down because processes are
 * in it, as under systemd without delegation. There only root may.
 */
function findVersion2(own: string, tag: string): { parent: string; controllers: Set<string> } | null {
  const unified = readable(`${ROOT}/cgroup.controllers`) ? ROOT : `${ROOT}/unified`;
  let best: { parent: string; controllers: Set<string> } | null = null;
  for (const group of new Set([own, "/"])) {
    const parent = usable(path.join(unified, group, tag), "cgroup.freeze");
    if (parent === null) continue;
    const controllers = handDown(parent);
    if (best !== null && controllers.size <= best.controllers.size) removeGroup(parent);
    else {
      if (best !== null) removeGroup(best.parent);
      best = { parent, controllers };
    }
  }
  return best;
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

/** Hands controllers down to the attempts' groups, as far as there are any to hand; those that they have then. */
function handDown(parent: string): Set<string> {
  for (const folder of [path.dirname(parent), parent])
    for (const [name] of Object.values(CONTROLLERS))
      tryWrite(path.join(folder, "cgroup.subtree_control"), `+${name}`);
  const given = (readable(path.join(parent, "cgroup.subtree_control")) ?? "").trim().split(/\s+/);
  return new Set(given.filter((name) => name !== ""));
}

export interface Cgroup {
  /** Files into which a process writes itself to become a member. */
  readonly procsFiles: string[];
  members(): number[];
  /** Null where there is no freezer. */
  freeze: ((frozen: boolean) => void) | null;
  /** Kills all members, those too that begin meanwhile; null where the kernel knows no such thing. */
  kill: (() => void) | null;
  memory(): MemoryUse | null;
  /** What its members have had so far, ms; null where nobody can tell. */
  cpuTimeMs(): number | null;
  /** So often a member could not begin another process because of the limit. */
  forksRefused(): number;
  /** The groups must be empty. */
  remove(): void;
}

export function createCgroup(support: CgroupSupport, name: string, limits: Limits): Cgroup {
  const places = Object.values(support).filter((place) => place !== null);
  const folders = [...new Set(places.map(({ parent }) => path.join(parent, name)))];
  for (const folder of folders) mkdirSync(folder, { recursive: true });
  const at = (controller: keyof CgroupSupport): GroupAt | null => {
    const place = support[controller];
    return place && { version: place.version, folder: path.join(place.parent, name) };
  };
  const [freezer, memory, processes, cpu] = [at("freezer"), at("memory"), at("processes"), at("cpu")];
  const cpuTime = at("cpuTime");
  if (memory && limits.memoryBytes !== undefined) limitMemory(memory, limits.memoryBytes);
  if (processes && limits.processes !== undefined) limitProcesses(processes, limits.processes);
  if (cpu && limits.cpus !== undefined) limitCpu(cpu, limits.cpus);
  return {
    procsFiles: folders.map((folder) => path.join(folder, "cgroup.procs")),
    members: () => [...new Set(folders.flatMap(pidsIn))],
    freeze: freezer && ((frozen) => setFreezer(freezer.version, freezer.folder, frozen)),
    kill: killerOf(folders),
    memory: () => memory && memoryUse(memory),
    cpuTimeMs: () => cpuTime && cpuTimeMs(cpuTime),
    forksRefused: () => (processes ? forksRefused(processes) : 0),
    remove: () => {
      for (const folder of folders) removeGroup(folder);
    },
  };
}

const killerOf = (folders: string[]): Cgroup["kill"] => {
  const file = folders.map((folder) => path.join(folder, "cgroup.kill")).find((each) => existsSync(each));
  return file === undefined ? null : () => writeFileSync(file, "1");
};

const pidsIn = (folder: string): number[] =>
  (readable(path.join(folder, "cgroup.procs")) ?? "")
    .split("\n")
    .filter((line) => line !== "")
    .map(Number);

/** Groups of attempts below the supports' folders, with their members: what a former life may have left. */
export function leftGroups(support: CgroupSupport): { folder: string; pids: number[] }[] {
  return [...parentsOf(support)].flatMap((parent) =>
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

/** Those too that begin meanwhile, where the kernel can. */
export const killGroup = (folder: string): void => tryWrite(path.join(folder, "cgroup.kill"), "1");

export function removeGroup(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

/** Removes the supports' own folders, if nothing is left in them. */
export function removeSupport(support: CgroupSupport): void {
  for (const parent of parentsOf(support)) removeGroup(parent);
}

const parentsOf = (support: CgroupSupport): Set<string> =>
  new Set(Object.values(support).flatMap((place) => (place ? [place.parent] : [])));
