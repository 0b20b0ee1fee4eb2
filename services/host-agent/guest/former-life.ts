// What a new host agent does before it says a word: ends the supervisor that a former life left, and everything
// that supervisor had started, and sees it gone.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { findCgroups, leftGroups, removeGroup, removeSupport, thawGroup } from "./cgroup.ts";
import { markedWith, signalAll, startOf } from "./processes.ts";
import { cgroupTag, markOf } from "./state.ts";

const DEADLINE_MS = 15_000;
const POLL_MS = 20;

/** Resolves when nothing of a former life is left; rejects when it cannot be ended. */
export async function endFormerLife(stateDir: string): Promise<{ ended: number }> {
  await mkdir(stateDir, { recursive: true });
  const seen = new Set<number>();
  const deadline = performance.now() + DEADLINE_MS;
  const cgroups = findCgroups(cgroupTag(stateDir));
  try {
    for (;;) {
      const left = new Set([
        ...(await formerSupervisor(stateDir)),
        ...markedWith(markOf(stateDir)),
        ...leftGroups(cgroups).flatMap(({ pids }) => pids),
      ]);
      if (left.size === 0) break;
      if (performance.now() > deadline)
        throw new Error(`a former life's processes cannot be ended: ${[...left].join(", ")}`);
      for (const pid of left) seen.add(pid);
      signalAll(left, "SIGKILL");
      // A frozen process takes no signal before it thaws.
      for (const { folder } of leftGroups(cgroups)) thawGroup(folder);
      await delay(POLL_MS);
    }
    for (const { folder } of leftGroups(cgroups)) removeGroup(folder);
  } finally {
    removeSupport(cgroups);
  }
  await rm(fileOf(stateDir), { force: true });
  return { ended: seen.size };
}

/** Written by the supervisor itself, before it starts anything. */
export async function recordLife(stateDir: string): Promise<void> {
  await mkdir(stateDir, { recursive: true });
  await writeFile(fileOf(stateDir), JSON.stringify({ pid: process.pid, start: startOf(process.pid) }));
}

async function formerSupervisor(stateDir: string): Promise<number[]> {
  try {
    const { pid, start } = JSON.parse(await readFile(fileOf(stateDir), "utf8")) as {
      pid: number;
      start: string;
    };
    return start !== null && startOf(pid) === start ? [pid] : [];
  } catch {
    return [];
  }
}

const fileOf = (stateDir: string): string => path.join(stateDir, "supervisor.json");
