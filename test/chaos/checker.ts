// Holds a history against the numbered invariants (docs/guarantees.md). Pure: it knows nothing of how the run was
// made, and believes the witness lines of the workloads rather than what the mesh says of itself.
import type { Fact, Malformed } from "../../shared/contracts/fact.ts";
import { fold } from "../../shared/lifecycle/fold.ts";
import { isEnd, type Lifecycle, UNKNOWN } from "../../shared/lifecycle/table.ts";
import type { Act, History, Kind } from "./history.ts";

export interface Violation {
  invariant: number;
  message: string;
}

/** An attempt as the log allows it: from its `started` until the log takes its right to act away. */
interface Attempt {
  taskId: string;
  attempt: number;
  hostId: string;
  fromMs: number;
  untilMs: number;
  /** What ended its right. */
  by: string;
}

interface Story {
  end: { fact: Fact; sequence: number } | null;
  task: Lifecycle;
  attempts: Attempt[];
}

/** `date` and the broker round to milliseconds, each its own way. */
const ROUNDING_MS = 5;
const ENDS: Record<Kind, string[]> = {
  works: ["succeeded"],
  fails: ["failed"],
  hangs: ["failed"],
  cancelled: ["cancelled", "succeeded"],
  poison: ["failed"],
};

export function violationsOf(history: History): Violation[] {
  const found: Violation[] = [];
  const violated = (invariant: number, message: string) => void found.push({ invariant, message });
  const stories = new Map<string, Story>();
  for (const [taskId, facts] of Map.groupBy(history.facts, (fact) => fact.taskId))
    stories.set(taskId, storyOf(facts, violated));
  everyTaskEnds(history, stories, violated);
  onlyTheLatestActs(history, stories, violated);
  nothingBeyondTheSlots(history, violated);
  nothingIsLeft(history, violated);
  streamsAreComplete(history, violated);
  poisonIsSetAside(history, violated);
  nobodyIsLostTooEarly(history, violated);
  whatWasShownIsTrue(history, stories, violated);
  return found;
}

type Violated = (invariant: number, message: string) => void;

function storyOf(facts: (Fact | Malformed)[], violated: Violated): Story {
  const story: Story = { end: null, task: UNKNOWN, attempts: [] };
  let requests = 0;
  for (const fact of facts) {
    const before = story.task;
    const { task, counted } = fold(before, fact);
    story.task = task;
    if (fact.kind === "requested" && fact.body !== null && ++requests > 1)
      violated(4, `${fact.taskId} was requested ${requests} times`);
    if (story.end !== null) {
      violated(3, `${fact.taskId}: ${fact.kind} (${fact.sequence}) is on the log after its end`);
      continue;
    }
    if (!counted || fact.body === null) continue;
    const latest = story.attempts.at(-1);
    if (fact.kind === "started")
      story.attempts.push({
        taskId: fact.taskId,
        attempt: fact.body.attempt,
        hostId: fact.speaker,
        fromMs: fact.timeMs,
        untilMs: Number.POSITIVE_INFINITY,
        by: "",
      });
    else if (before.active && !task.active && latest !== undefined) {
      latest.untilMs = fact.timeMs;
      latest.by = before.state === "cancelling" ? "cancelled" : fact.kind;
    }
    if (isEnd(task.state)) story.end = { fact, sequence: fact.sequence };
  }
  return story;
}

function everyTaskEnds({ acknowledged }: History, stories: Map<string, Story>, violated: Violated): void {
  for (const { taskId, kind } of acknowledged) {
    const story = stories.get(taskId);
    if (story === undefined) violated(1, `${taskId} was acknowledged and is not on the log`);
    else if (story.end === null) violated(1, `${taskId} has not ended: it is ${story.task.state}`);
    else if (!ENDS[kind].includes(story.task.state))
      violated(1, `${taskId} ${kind}, and ended ${story.task.state}: ${JSON.stringify(story.end.fact.body)}`);
  }
}

function onlyTheLatestActs(history: History, stories: Map<string, Story>, violated: Violated): void {
  const newest = new Map<string, Act>();
  for (const act of history.acts.toSorted((one, other) => one.atMs - other.atMs)) {
    const words = `${act.taskId}: attempt ${act.attempt} on ${act.hostId} acts at ${act.atMs}`;
    const seen = newest.get(act.taskId);
    if (seen === undefined || act.attempt > seen.attempt) newest.set(act.taskId, act);
    const allowed = stories
      .get(act.taskId)
      ?.attempts.find(({ attempt, hostId }) => attempt === act.attempt && hostId === act.hostId);
    if (allowed === undefined || act.atMs < allowed.fromMs - ROUNDING_MS) {
      violated(2, `${words}, which the log does not allow`);
      continue;
    }
    if (justWoken(history, act)) continue;
    if (seen !== undefined && act.attempt < seen.attempt)
      violated(2, `${words}, after attempt ${seen.attempt} had acted at ${seen.atMs}`);
    else if (act.atMs > allowed.untilMs + ROUNDING_MS)
      violated(allowed.by === "cancelled" ? 6 : 2, `${words}, after ${allowed.by} at ${allowed.untilMs}`);
  }
}

const justWoken = ({ wakes, wakeAllowanceMs }: History, { hostId, atMs }: Act): boolean =>
  wakes.some((wake) => wake.hostId === hostId && atMs >= wake.atMs && atMs <= wake.atMs + wakeAllowanceMs);

function nothingBeyondTheSlots({ acts, slots }: History, violated: Violated): void {
  const keyOf = ({ taskId, attempt }: Act) => `${taskId} ${attempt}`;
  for (const [hostId, here] of Map.groupBy(acts, (act) => act.hostId)) {
    const edges = [...Map.groupBy(here, keyOf)].flatMap(([, ofAttempt]) => {
      const times = ofAttempt.map(({ atMs }) => atMs);
      return [
        { atMs: Math.min(...times), change: 1 },
        { atMs: Math.max(...times), change: -1 },
      ];
    });
    let running = 0;
    for (const edge of edges.toSorted((one, other) => one.atMs - other.atMs || one.change - other.change)) {
      running += edge.change;
      if (running > slots)
        violated(5, `${hostId} runs ${running} attempts at ${edge.atMs}, with ${slots} slots`);
    }
  }
}

function nothingIsLeft({ leftovers }: History, violated: Violated): void {
  for (const process of leftovers) violated(6, `still there after every end: ${process}`);
}

function streamsAreComplete({ told, facts }: History, violated: Violated): void {
  const expected = facts.map(({ sequence }) => sequence);
  const at = expected.findIndex((sequence, index) => told[index] !== sequence);
  if (at !== -1 || told.length !== expected.length)
    violated(
      7,
      `the event stream told ${told.length} of ${expected.length} events, and differs first at ${at}`,
    );
}

function poisonIsSetAside({ facts, dead }: History, violated: Violated): void {
  const undecodable = facts.filter(({ body }) => body === null).map(({ sequence }) => sequence);
  for (const sequence of undecodable) {
    const times = dead.filter((other) => other === sequence).length;
    if (times !== 1)
      violated(8, `message ${sequence}, which nobody can decode, was set aside ${times} times`);
  }
  for (const sequence of dead)
    if (!undecodable.includes(sequence))
      violated(8, `message ${sequence} was set aside, though it can be decoded`);
}

function nobodyIsLostTooEarly({ facts, busBackAtMs, silenceMs }: History, violated: Violated): void {
  for (const fact of facts) {
    if (fact.body === null || !("failure" in fact.body) || fact.body.failure?.category !== "lost") continue;
    if (!fact.body.failure.message.includes("went silent")) continue;
    for (const backAtMs of busBackAtMs)
      if (fact.timeMs >= backAtMs && fact.timeMs < backAtMs + silenceMs)
        violated(
          9,
          `${fact.taskId}: its host was called silent ${fact.timeMs - backAtMs} ms after the bus was back`,
        );
  }
}

function whatWasShownIsTrue({ shown }: History, stories: Map<string, Story>, violated: Violated): void {
  for (const { taskId, state, attempt, hostId } of shown) {
    const task = stories.get(taskId)?.task ?? UNKNOWN;
    if (task.state !== state || task.attempt !== attempt || task.hostId !== hostId)
      violated(
        10,
        `${taskId} is shown as ${state}, attempt ${attempt} on ${hostId}; the log says ${task.state}, ${task.attempt} on ${task.hostId}`,
      );
  }
}
