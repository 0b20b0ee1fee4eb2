// What a new host agent does before it says a word: ends the supervisor that a former life left, and everything
// that supervisor had started, and sees it gone.
import { mkdir } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import {
  type CgroupSupport,
  findCgroups,
  killGroup,
  leftGroups,
  removeGroup,
  removeSupport,
  thawGroup,
} from "./cgroup.ts";
import { markedWith, signalAll, withArguments } from "./processes.ts";
import { cgroupTag, markOf, stateArguments } from "./state.ts";

const DEADLINE_MS = 15_000;
const POLL_MS = 20;

/** Resolves when nothing of a former life is left; rejects when it cannot be ended. */
export async function endFormerLife(stateDir: string): Promise<{ ended: number }> {
  await mkdir(stateDir, { recursive: true });
  const cgroups = findCgroups(cgroupTag(stateDir));
  try {
    return { ended: await endAll(stateDir, cgroups, () => withArguments(...stateArguments(stateDir))) };
  } finally {
    removeSupport(cgroups);
  }
}

/** Ends what supervisors of this folder have started, and the `others`; tells how many processes that were. */
export async function endAll(
  stateDir: string,
  cgroups: CgroupSupport,
  others: () => number[],
): Promise<number> {
  const seen = new Set<number>();
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const left = new Set([
      ...others(),
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
    for (const { folder } of leftGroups(cgroups)) {
      killGroup(folder);
      thawGroup(folder);
    }
    await delay(POLL_MS);
  }
  for (const { folder } of leftGroups(cgroups)) removeGroup(folder);
  return seen.size;
}
