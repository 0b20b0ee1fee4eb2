// What a drill's facts and witness lines say: whether anything ran twice, and what was begun anew. Pure; the lines are
// the commands' own, and are believed over what the mesh says of itself.
import type { Fact, Malformed } from "../../../shared/contracts/fact.ts";
import { fold } from "../../../shared/lifecycle/fold.ts";
import { UNKNOWN } from "../../../shared/lifecycle/table.ts";

/** One sign of life of an attempt's command. */
export interface Act {
  taskId: string;
  attempt: number;
  hostId: string;
  /** By the clock of the machine that it ran on, ms since the epoch. */
  atMs: number;
  /** When the broker stored it, by its own clock. */
  storedMs: number;
}

export interface Evidence {
  facts: (Fact | Malformed)[];
  acts: Act[];
  /** From the kill until it worked again, ms; null if it did not within the deadline. */
  recoveredMs: number | null;
  /** An attempt that is begun anew is a fault too. */
  mustGoOn: boolean;
}

export interface Judgement {
  ok: boolean;
  /** In words, each time that something ran twice, or was begun anew and must not have been. */
  twice: string[];
  anew: string[];
}

/** A clock is corrected by the quickest line of its host, so it may be wrong by what that one took, ms. */
const TOLERANCE_MS = 500;

export function judge({ facts, acts, recoveredMs, mustGoOn }: Evidence): Judgement {
  const twice: string[] = [];
  const anew: string[] = [];
  const timely = onBrokersClock(acts);
  for (const [taskId, said] of Map.groupBy(facts, (fact) => fact.taskId)) {
    const rights = rightsOf(said);
    if (rights.length > 1) anew.push(`${taskId} began ${rights.length} times`);
    const results = said.filter(({ kind }) => kind === "succeeded").length;
    if (results > 1) twice.push(`${taskId} has ${results} results on the log`);
    for (const [actor, own] of Map.groupBy(
      timely.filter((act) => act.taskId === taskId),
      ({ attempt, hostId }) => `attempt ${attempt} on ${hostId}`,
    )) {
      const right = rights.find(({ attempt, hostId }) => actor === `attempt ${attempt} on ${hostId}`);
      const first = Math.min(...own.map(({ atMs }) => atMs));
      const last = Math.max(...own.map(({ atMs }) => atMs));
      if (right === undefined) twice.push(`${taskId}: ${actor} acted, and the log knows nothing of it`);
      else if (first < right.fromMs - TOLERANCE_MS)
        twice.push(`${taskId}: ${actor} acted ${Math.round(right.fromMs - first)} ms before it had begun`);
      else if (last > right.untilMs + TOLERANCE_MS)
        twice.push(`${taskId}: ${actor} acted ${Math.round(last - right.untilMs)} ms after its end`);
    }
  }
  return { ok: recoveredMs !== null && twice.length === 0 && !(mustGoOn && anew.length > 0), twice, anew };
}

interface Right {
  attempt: number;
  hostId: string;
  fromMs: number;
  untilMs: number;
}

/** When each attempt might act, by the log. */
function rightsOf(facts: (Fact | Malformed)[]): Right[] {
  const rights: Right[] = [];
  let task = UNKNOWN;
  for (const fact of facts) {
    const before = task;
    task = fold(before, fact).task;
    const latest = rights.at(-1);
    if (before.active && !task.active && latest !== undefined) latest.untilMs = fact.timeMs;
    if (!before.active && task.active && task.hostId !== null)
      rights.push({
        attempt: task.attempt,
        hostId: task.hostId,
        fromMs: fact.timeMs,
        untilMs: Number.POSITIVE_INFINITY,
      });
  }
  return rights;
}

/** Acts by the one clock that facts are told in: no line is stored before it was written. */
export function onBrokersClock(acts: Act[]): Act[] {
  return [...Map.groupBy(acts, ({ hostId }) => hostId).values()].flatMap((own) => {
    const behindMs = Math.min(...own.map(({ atMs, storedMs }) => storedMs - atMs));
    return own.map((act) => ({ ...act, atMs: act.atMs + behindMs }));
  });
}
