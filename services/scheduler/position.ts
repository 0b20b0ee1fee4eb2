// How many tasks are placed before one, if nothing more comes and all of them can be. Pure.
import { type RepositoryRules, ruleOf } from "../../shared/config/settings.ts";
import { PRIORITIES } from "../../shared/contracts/deploy-request.ts";
import { type Line, type Queue, SHARES } from "./queue.ts";
import type { QueueEntry } from "./queue-entry.ts";

/** Within one turn of a repository, and one share of a priority, it may be more or less. */
export function ahead(queue: Queue, entry: QueueEntry, rules: RepositoryRules): number {
  const { ring } = queue.levels[entry.priority];
  const own = olderIn(ring.get(entry.repository), entry);
  const turns = Math.floor(own / ruleOf(entry.repository, rules).share);
  let before = own;
  let isEarlierInRing = true;
  for (const line of ring.values()) {
    if (line.repository === entry.repository) isEarlierInRing = false;
    else {
      const theirTurns = turns + (isEarlierInRing ? 1 : 0);
      before += Math.min(line.size, theirTurns * ruleOf(line.repository, rules).share);
    }
  }
  // Until it has spent what placing it takes, each of the others may spend as much.
  const until = queue.levels[entry.priority].spent + (before + 1) / SHARES[entry.priority];
  for (const priority of PRIORITIES) {
    if (priority === entry.priority) continue;
    const { size, spent } = queue.levels[priority];
    before += Math.max(0, Math.min(size, Math.floor((until - spent) * SHARES[priority] + 1e-9)));
  }
  return before;
}

function olderIn(line: Line | undefined, { sequence }: QueueEntry): number {
  let older = 0;
  for (const lane of line?.lanes.values() ?? [])
    for (const other of lane.entries) if (!other.removed && other.sequence < sequence) older++;
  return older;
}
