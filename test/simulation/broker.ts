// The bus of the simulation: one log with the server's guard, the last heartbeat of each host, and requests that find
// whoever answers them. What comes late, gets lost or is cut off is decided by the caller's line.
import { deadSubject } from "../../shared/contracts/dead.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import {
  decodeFact,
  FACT_BODIES,
  type Fact,
  type FactKind,
  factSubject,
  type Malformed,
} from "../../shared/contracts/fact.ts";
import { heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import { fold } from "../../shared/lifecycle/fold.ts";
import { isEnd, type Lifecycle, UNKNOWN } from "../../shared/lifecycle/table.ts";

export interface Stored {
  subject: string;
  payload: Uint8Array;
  sequence: number;
  timeMs: number;
}

export type StoreReply = { ok: true; sequence: number } | { ok: false; code: number };
export interface Expect {
  lastSubjectSequence?: number;
  lastSubjectSequenceSubject?: string;
}

export interface Responder {
  subject: string;
  queue: string | null;
  /** False: it is not to be reached at the moment. */
  reachable(): boolean;
  deliver(payload: Uint8Array, respond: (payload: string) => void): void;
}

const WRONG_LAST_SEQUENCE = 10_071;
const ALREADY_THERE = 10_077;
/** Facts before an end are removed so long after it, ms. */
const PURGE_AFTER_MS = 15_000;

export class Broker {
  readonly tasks: (Stored & { fact: Fact | Malformed })[] = [];
  readonly heartbeats: Stored[] = [];
  /** How often each message was set aside, by its sequence. */
  readonly dead = new Map<number, number>();
  readonly responders = new Set<Responder>();
  /** What is true: every fact folded as it is stored. */
  readonly truth = new Map<string, Lifecycle>();
  readonly endedAtMs = new Map<string, number>();
  /** `saidAtMs`: when its speaker sent it. */
  onStored: (fact: Fact | Malformed, before: Lifecycle, after: Lifecycle, saidAtMs: number) => void =
    () => {};
  onHeartbeat: () => void = () => {};
  down = false;
  /** Which facts the server guards; a mutant leaves some out. */
  readonly #guards: (kind: FactKind) => boolean;
  readonly #purge: "before the end" | "the end too" | "nothing";
  readonly #purged = new Set<number>();
  readonly #last = new Map<string, number>();
  readonly #lastHeartbeat = new Map<string, Stored>();
  readonly #wallMs: () => number;

  constructor(options: {
    wallMs: () => number;
    guards: (kind: FactKind) => boolean;
    purge: "before the end" | "the end too" | "nothing";
  }) {
    this.#wallMs = options.wallMs;
    this.#guards = options.guards;
    this.#purge = options.purge;
  }

  store(subject: string, payload: Uint8Array, expect: Expect, saidAtMs: number): StoreReply {
    const timeMs = this.#wallMs();
    const hostId = heartbeatSubject.parse(subject)?.hostId;
    if (hostId !== undefined) {
      const stored = { subject, payload, timeMs, sequence: this.heartbeats.length + 1 };
      this.heartbeats.push(stored);
      this.#lastHeartbeat.set(hostId, stored);
      this.onHeartbeat();
      return { ok: true, sequence: stored.sequence };
    }
    const buried = deadSubject.parse(subject)?.sequence;
    if (buried !== undefined) {
      const times = this.dead.get(Number(buried)) ?? 0;
      // One message for each subject, and no other in its place.
      if (times > 0) return { ok: false, code: ALREADY_THERE };
      this.dead.set(Number(buried), times + 1);
      return { ok: true, sequence: this.dead.size };
    }
    const parameters = factSubject.parse(subject);
    if (parameters === null || !Object.hasOwn(FACT_BODIES, parameters.kind))
      throw new Error(`nobody owns ${subject}`);
    const { taskId } = parameters;
    const last = this.#last.get(taskId) ?? 0;
    const guarded = expect.lastSubjectSequence !== undefined && this.#guards(parameters.kind as FactKind);
    if (guarded && expect.lastSubjectSequence !== last) return { ok: false, code: WRONG_LAST_SEQUENCE };
    const sequence = this.tasks.length + 1;
    const fact = decodeFact(subject, payload, sequence, timeMs);
    if (fact === null) throw new Error(`nobody owns ${subject}`);
    this.tasks.push({ subject, payload, sequence, timeMs, fact });
    this.#last.set(taskId, sequence);
    const before = this.truth.get(taskId) ?? UNKNOWN;
    const after = fold(before, fact).task;
    this.truth.set(taskId, after);
    if (isEnd(after.state) && !isEnd(before.state)) this.endedAtMs.set(taskId, timeMs);
    this.onStored(fact, before, after, saidAtMs);
    return { ok: true, sequence };
  }

  /** What a reader is given that has read up to `sequence`. */
  *factsAfter(sequence: number): Generator<Fact | Malformed> {
    for (let at = sequence; at < this.tasks.length; at++) {
      const stored = this.tasks[at];
      if (stored !== undefined && !this.#purged.has(stored.sequence)) yield stored.fact;
    }
  }

  factsOf(taskId: string): (Fact | Malformed)[] {
    return [...this.factsAfter(0)].filter((fact) => fact.taskId === taskId);
  }

  requestAt(sequence: number): DeployRequest | null {
    const fact = this.tasks[sequence - 1]?.fact;
    return fact?.kind === "requested" ? fact.body : null;
  }

  lastHeartbeat(hostId: string): Stored | null {
    return this.#lastHeartbeat.get(hostId) ?? null;
  }

  lastFact(taskId: string): Stored | null {
    const sequence = this.#last.get(taskId);
    return sequence === undefined ? null : (this.tasks[sequence - 1] ?? null);
  }

  /** Removes what lies before ends that are old enough. */
  purge(): void {
    if (this.#purge === "nothing") return;
    for (const [taskId, endedAtMs] of this.endedAtMs) {
      if (this.#wallMs() - endedAtMs < PURGE_AFTER_MS) continue;
      const facts = this.factsOf(taskId);
      // What nobody can decode goes once it has been set aside.
      if (facts.some(({ body, sequence }) => body === null && !this.dead.has(sequence))) continue;
      this.endedAtMs.delete(taskId);
      let task = UNKNOWN;
      for (const fact of facts) {
        task = fold(task, fact).task;
        if (isEnd(task.state) && this.#purge === "before the end") break;
        this.#purged.add(fact.sequence);
      }
      if (this.#purge === "the end too") {
        this.#last.delete(taskId);
        this.truth.delete(taskId);
      }
    }
  }
}
