// Circuit breakers of hosts and repositories, folded from the log alone: whoever follows it comes to the same. What
// fails again and again is given nothing for a while, then one attempt, the probe; a success closes the breaker. Pure.
import { type Fact, failureOf } from "../contracts/fact.ts";
import type { FailureCategory } from "../contracts/failure.ts";
import type { FoldedFact } from "./folded-log.ts";

export type Guarded = "host" | "repository";

/** Failures in a row that open a breaker. */
const FAILURES = 3;
/** A wait is doubled by every probe that fails, so often at most. */
const DOUBLINGS = 5;
/** Guarded things with failures that are remembered; the longest known are forgotten first. */
const REMEMBERED = 10_000;

const SPEAKS_AGAINST: Record<Guarded, ReadonlySet<FailureCategory>> = {
  host: new Set(["host", "lost", "internal"]),
  repository: new Set(["source"]),
};
/**
 * Neither for nor against anybody: the attempt was called off, its provider takes nothing now, or a command could not
 * be started, which is as likely the request's fault as the host's.
 */
const SAYS_NOTHING: ReadonlySet<FailureCategory> = new Set(["preempted", "cancelled", "quota", "setup"]);

interface Breaker {
  /** Tasks that failed since the last success: one that fails everywhere speaks against itself, and counts once. */
  failed: Set<string>;
  /** Of the last failure that counted. What had begun before it failed with it, for the same reason. */
  sequence: number;
  why: string;
  openedAtMs: number | null;
  probeAtMs: number;
  failedProbes: number;
  /** The task whose attempt is the probe. */
  probe: string | null;
}

export interface BreakerState {
  state: "open" | "half-open";
  sinceMs: number;
  why: string;
  probeAtMs: number;
  /** The task that is the probe under way. */
  probe: string | null;
}

export class Breakers {
  readonly #breakers = { host: new Map<string, Breaker>(), repository: new Map<string, Breaker>() };
  /** Sequence of the `started` of every attempt under way, by task. */
  readonly #begun = new Map<string, number>();
  readonly #probeAfterMs: number;

  /** `probeAfterMs`: an open breaker's first wait. */
  constructor(probeAfterMs: number) {
    this.#probeAfterMs = probeAfterMs;
  }

  /** What the log says next, about a task of this repository. */
  apply({ fact, before, after, counted }: FoldedFact, repository: string): void {
    if (!counted || fact.body === null) return;
    const { taskId } = fact;
    if (fact.kind === "started") {
      this.#begun.set(taskId, fact.sequence);
      for (const breaker of [
        this.#breakers.host.get(fact.speaker),
        this.#breakers.repository.get(repository),
      ])
        if (breaker !== undefined && breaker.openedAtMs !== null) breaker.probe ??= taskId;
      return;
    }
    const hostId = fact.kind === "succeeded" ? fact.speaker : before.hostId;
    if (hostId === null || !(fact.kind === "succeeded" || (before.active && !after.active))) return;
    const begun = this.#begun.get(taskId) ?? 0;
    this.#begun.delete(taskId);
    this.#judge("host", hostId, fact, begun);
    this.#judge("repository", repository, fact, begun);
  }

  /** Those whose breaker is not closed. */
  *notClosed(guarded: Guarded): Generator<string> {
    for (const [name, { openedAtMs }] of this.#breakers[guarded]) if (openedAtMs !== null) yield name;
  }

  /** Null while it is closed. */
  state(guarded: Guarded, name: string, brokerNowMs: number): BreakerState | null {
    const breaker = this.#breakers[guarded].get(name);
    if (breaker === undefined || breaker.openedAtMs === null) return null;
    const { openedAtMs, why, probeAtMs, probe } = breaker;
    const isDue = probe !== null || brokerNowMs >= probeAtMs;
    return { state: isDue ? "half-open" : "open", sinceMs: openedAtMs, why, probeAtMs, probe };
  }

  #judge(guarded: Guarded, name: string, fact: Fact, begun: number): void {
    const known = this.#breakers[guarded];
    const failure = failureIn(fact);
    const isSuccess =
      failure === null ||
      (!SAYS_NOTHING.has(failure.category) &&
        !SPEAKS_AGAINST.host.has(failure.category) &&
        !SPEAKS_AGAINST.repository.has(failure.category));
    if (isSuccess) return void known.delete(name);
    if (!SPEAKS_AGAINST[guarded].has(failure.category)) {
      const breaker = known.get(name);
      if (breaker?.probe === fact.taskId) breaker.probe = null;
      return;
    }
    const breaker = known.get(name) ?? closed();
    known.set(name, breaker);
    const [oldest] = known.keys();
    if (known.size > REMEMBERED && oldest !== undefined) known.delete(oldest);
    this.#fail(breaker, fact, begun, `${failure.category}: ${failure.message}`);
  }

  #fail(breaker: Breaker, { taskId, sequence, timeMs }: Fact, begun: number, why: string): void {
    if (breaker.openedAtMs !== null) {
      if (breaker.probe !== taskId) return;
      breaker.probe = null;
      breaker.failedProbes++;
    } else {
      if (begun < breaker.sequence) return;
      breaker.failed.add(taskId);
      breaker.sequence = sequence;
      if (breaker.failed.size >= FAILURES) breaker.openedAtMs = timeMs;
    }
    breaker.why = why;
    breaker.probeAtMs = timeMs + this.#probeAfterMs * 2 ** Math.min(DOUBLINGS, breaker.failedProbes);
  }
}

const closed = (): Breaker => ({
  failed: new Set(),
  sequence: 0,
  why: "",
  openedAtMs: null,
  probeAtMs: 0,
  failedProbes: 0,
  probe: null,
});

/** Null for a success. */
function failureIn(fact: Fact): { category: FailureCategory; message: string } | null {
  const lost = { category: "lost", message: "an attempt was lost" } as const;
  switch (fact.kind) {
    case "requeued":
    case "deferred":
      return failureOf(fact) ?? lost;
    case "cancelled":
      return fact.body.lost ? lost : { category: "cancelled", message: fact.body.reason };
    default:
      return failureOf(fact);
  }
}
