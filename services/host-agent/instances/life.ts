// The life of an instance, and what a host does about its instances next. Pure: the clock is an argument, and what is
// decided is done elsewhere.

/** `broken` and `retired` ones are still there, until they are removed. */
export type InstanceState = "absent" | "creating" | "ready" | "busy" | "cleaning" | "retired" | "broken";

export type InstanceFact =
  /** It is to be made. */
  | "wanted"
  | "created"
  /** It could not be made, cleaned or removed, or does not answer. */
  | "failed"
  | "taken"
  | "returned"
  | "cleaned"
  /** It is no longer needed, or has had its share of tasks. */
  | "dismissed"
  | "removed";

/** What does not fit is a bug of whoever says it, but for what may cross on its way: that is `ignored`. */
export const LIFE: Record<InstanceState, Record<InstanceFact, InstanceState | "ignored" | "bug">> = {
  absent: {
    wanted: "creating",
    created: "bug",
    failed: "ignored",
    taken: "bug",
    returned: "bug",
    cleaned: "bug",
    dismissed: "ignored",
    removed: "ignored",
  },
  creating: {
    wanted: "ignored",
    created: "ready",
    failed: "broken",
    taken: "bug",
    returned: "bug",
    cleaned: "bug",
    dismissed: "ignored",
    removed: "bug",
  },
  ready: {
    wanted: "ignored",
    created: "bug",
    failed: "broken",
    taken: "busy",
    returned: "bug",
    cleaned: "bug",
    dismissed: "retired",
    removed: "bug",
  },
  busy: {
    wanted: "ignored",
    created: "bug",
    // Its attempt ends first, and gives it back.
    failed: "ignored",
    taken: "bug",
    returned: "cleaning",
    cleaned: "bug",
    dismissed: "ignored",
    removed: "bug",
  },
  cleaning: {
    wanted: "ignored",
    created: "bug",
    failed: "broken",
    taken: "bug",
    returned: "bug",
    cleaned: "ready",
    dismissed: "retired",
    removed: "bug",
  },
  retired: {
    wanted: "ignored",
    created: "bug",
    failed: "broken",
    taken: "bug",
    returned: "bug",
    cleaned: "bug",
    dismissed: "ignored",
    removed: "absent",
  },
  broken: {
    wanted: "ignored",
    created: "bug",
    failed: "ignored",
    taken: "bug",
    returned: "bug",
    cleaned: "bug",
    dismissed: "ignored",
    removed: "absent",
  },
};

export interface InstanceRecord {
  /** From 1 to the most there may be. */
  number: number;
  state: InstanceState;
  /** Since it is in this state, ms. */
  sinceMs: number;
  /** Attempts that it has had since it was made. */
  tasks: number;
  /** When its supervisor was last seen to be there, ms. */
  heardAtMs: number;
  /** Its supervisor was there when it was looked at last. */
  answers: boolean;
}

/** Throws for what cannot happen. */
export function after(instance: InstanceRecord, fact: InstanceFact, nowMs: number): InstanceRecord {
  const next = LIFE[instance.state][fact];
  if (next === "bug")
    throw new Error(`instance ${instance.number} is ${instance.state}: it cannot be ${fact}`);
  if (next === "ignored" || next === instance.state) return instance;
  const tasks = fact === "taken" ? instance.tasks + 1 : next === "creating" ? 0 : instance.tasks;
  return { ...instance, state: next, sinceMs: nowMs, tasks };
}

export interface InstanceRules {
  /** No more are there at once, in whatever state. */
  most: number;
  /** So many are kept ready beside those at work. */
  warm: number;
  /** One that was not used for so long, and is not kept warm, is dismissed, ms. */
  idleMs: number;
  /** So many tasks, and it is made anew. */
  tasksEach: number;
  /** One whose supervisor was not there for so long is broken, ms. */
  silenceMs: number;
}

export interface Situation {
  instances: readonly InstanceRecord[];
  /** Somebody has asked for one, and there was none. */
  wanted: boolean;
  /** So many attempts have given theirs back and wait for a fresh one: no other comes before them. */
  waiting: number;
  /** Failures to make one since the last success. */
  failures: number;
  failedAtMs: number;
}

export interface Step {
  act: "create" | "dismiss" | "fail" | "remove";
  number: number;
}

const BACKOFF_MS = 1_000;
const BACKOFF_MAX_MS = 60_000;

/** How long nothing is tried after so many failures in a row. */
export const backoffMs = (failures: number): number =>
  failures === 0 ? 0 : Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** (failures - 1));

/** What is to be done now; each step once, as the state it leads to shows. */
export function stepsOf(situation: Situation, rules: InstanceRules, nowMs: number): Step[] {
  const { instances } = situation;
  const inState = (...states: InstanceState[]) => instances.filter(({ state }) => states.includes(state));
  const isSilent = ({ heardAtMs, sinceMs }: InstanceRecord) =>
    nowMs - Math.max(heardAtMs, sinceMs) > rules.silenceMs;
  const ready = inState("ready").toSorted((one, other) => one.sinceMs - other.sinceMs);
  const kept = situation.waiting + Math.max(rules.warm, situation.wanted ? 1 : 0);
  const idle = ready
    .slice(0, Math.max(0, ready.length - kept))
    .filter((instance) => nowMs - instance.sinceMs >= rules.idleMs && !isSilent(instance));
  return [
    ...inState("retired", "broken").map(({ number }) => ({ act: "remove" as const, number })),
    ...ready.filter(isSilent).map(({ number }) => ({ act: "fail" as const, number })),
    ...idle.map(({ number }) => ({ act: "dismiss" as const, number })),
    ...missing(situation, rules, kept, nowMs).map((number) => ({ act: "create" as const, number })),
  ];
}

/** Numbers of those that are to be made. */
function missing(
  { instances, failures, failedAtMs }: Situation,
  rules: InstanceRules,
  kept: number,
  nowMs: number,
): number[] {
  if (failures > 0 && nowMs - failedAtMs < backoffMs(failures)) return [];
  const there = instances.filter(({ state }) => state !== "absent");
  const spare = there.filter(({ state }) => ["creating", "ready", "cleaning"].includes(state)).length;
  const count = Math.min(kept - spare, rules.most - there.length);
  return instances
    .filter(({ state }) => state === "absent")
    .slice(0, Math.max(0, count))
    .map(({ number }) => number);
}

/** An instance that has come back is used again, or made anew. */
export const isSpent = ({ tasks }: InstanceRecord, { tasksEach }: InstanceRules): boolean =>
  tasks >= tasksEach;

/** So many attempts could begin at once now. One that is made only when it is asked for counts: nobody else asks. */
export function freeInstances(situation: Situation, rules: InstanceRules, nowMs: number): number {
  const usable = situation.instances.filter(({ state, answers }) => state === "ready" && answers).length;
  const ready = Math.max(0, usable - situation.waiting);
  if (ready > 0 || rules.warm > 0) return ready;
  return missing(situation, rules, situation.waiting + 1, nowMs).length > situation.waiting ? 1 : 0;
}
