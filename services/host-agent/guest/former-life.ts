// What a new host agent does before it says a word: ends the supervisor that a former life left, and everything
// that supervisor had started, and sees it gone.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  type CgroupSupport,
  findCgroups,
  leftGroups,
  removeGroup,
  removeSupport,
  thawGroup,
} from "./cgroup.ts";
import { markedWith, signalAll, startOf } from "./processes.ts";
import { cgroupTag, markOf } from "./state.ts";

const DEADLINE_MS = 15_000;
const POLL_MS = 20;

/** Resolves when nothing of a former life is left; rejects when it cannot be ended. */
export async function endFormerLife(stateDir: string): Promise<{ ended: number }> {
  await mkdir(stateDir, { recursive: true });
  const cgroups = findCgroups(cgroupTag(stateDir));
  try {
    const ended = await endAll(stateDir, cgroups, () => formerLife(stateDir));
    await rm(fileOf(stateDir), { force: true });
    return { ended };
  } finally {
    removeSupport(cgroups);
  }
}

/** Ends what supervisors of this folder have started, and the `others`; tells how many processes that were. */
export async function endAll(
  stateDir: string,
  cgroups: CgroupSupport,
  others: () => Promise<number[]>,
): Promise<number> {
  const seen = new Set<number>();
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const left = new Set([
      ...(await others()),
      ...markedWith(markOf(stateDir)),
      ...leftGroups(cgroups).flatMap(({ pids }) => pids),
    ]);
    if (left.size === 0) break;
    if (performance.now() > deadline)
      throw new Error(`a former life's processes cannot be ended: ${[...left].join(", ")}`);
    for (const pid of left) seen.add(pid);
    signalAll(left, "SIGKILL");
    // A frozen process takes no signal before it thaws.
    if (cgroups.freezer !== null) thawGroup(cgroups.freezer.parent);
    for (const { folder } of leftGroups(cgroups)) thawGroup(folder);
    await delay(POLL_MS);
  }
  for (const { folder } of leftGroups(cgroups)) removeGroup(folder);
  return seen.size;
}

/** Written by the supervisor itself, before it starts anything for its host: it, and who watches it. */
export async function recordLife(stateDir: string, pids: (number | undefined)[]): Promise<void> {
  await mkdir(stateDir, { recursive: true });
  const processes = pids.flatMap((pid) => (pid === undefined ? [] : [{ pid, start: startOf(pid) }]));
  await writeFile(fileOf(stateDir), JSON.stringify(processes));
}

async function formerLife(stateDir: string): Promise<number[]> {
  try {
    const processes = JSON.parse(await readFile(fileOf(stateDir), "utf8")) as {
      pid: number;
      start: string | null;
    }[];
    return processes.flatMap(({ pid, start }) => (start !== null && startOf(pid) === start ? [pid] : []));
  } catch {
    return [];
  }
}

const fileOf = (stateDir: string): string => path.join(stateDir, "supervisor.json");
