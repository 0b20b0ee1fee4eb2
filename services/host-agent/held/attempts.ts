// The attempts of this host, from the order that asks for one until its end is on the log. It decides what is
// listed in heartbeats: all of them, from before `started` is sent.
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { HeldAttempt as Listed } from "../../../shared/contracts/heartbeat.ts";
import type {
  RunOrder,
  RunReply,
  SayOrder,
  SayReply,
  StopOrder,
  StopReply,
} from "../../../shared/contracts/order.ts";
import type { Instances } from "../instances/instances.ts";
import type { Run } from "../runner/runner.ts";
import { type Capacity, countedOf, refusalOf } from "./admission.ts";
import type { Finished } from "./finished.ts";
import { HeldAttempt, type HeldAttemptPorts } from "./held-attempt.ts";
import { limitRefusalOf, memoryLimitOf } from "./memory-limit.ts";

export interface AttemptsOptions extends Omit<HeldAttemptPorts, "closing"> {
  hostId: string;
  instances: Pick<Instances, "take" | "problem" | "onFrozen" | "onDied">;
  capacity(): Capacity;
}

const RUN_REPLY_MS = 8_000;
const NO_ROOM = { memoryBytes: 0, memoryLimitBytes: 0, cpus: 0 };

export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #ports: HeldAttemptPorts;
  /** By task, with what the log has decided on the order that began it. */
  readonly #held = new Map<string, { attempt: HeldAttempt; begun: Promise<RunReply> }>();
  readonly #closing = new AbortController();
  readonly #working = new Set<Promise<void>>();

  constructor(options: AttemptsOptions) {
    this.#options = options;
    this.#ports = { ...options, closing: this.#closing.signal };
    options.instances.onFrozen(
      (guest, key) =>
        void this.#all()
          .find((attempt) => attempt.key === key && attempt.guest === guest)
          ?.resume(),
    );
    // What runs under another supervisor goes on.
    options.instances.onDied((guest, reason) => {
      for (const attempt of this.#all())
        if (attempt.guest === guest)
          attempt.stop({ category: "host", message: `the guest supervisor ended: ${reason}` });
    });
  }

  /** For the heartbeat. */
  list(): Listed[] {
    return this.#all().map(({ key, guest, claim: { taskId, attempt, nonce } }) => {
      const known = guest?.useOf(key) ?? null;
      const { memoryBytes, cpus } = known ?? {};
      return { taskId, attempt, nonce, ...(known === null ? {} : { use: { memoryBytes, cpus } }) };
    });
  }

  reserved(): { attempts: number; memoryBytes: number; cpus: number } {
    const sum = { attempts: 0, memoryBytes: 0, cpus: 0 };
    for (const { room } of this.#atWork()) {
      sum.attempts++;
      sum.memoryBytes += room.memoryBytes;
      sum.cpus += room.cpus;
    }
    return sum;
  }

  async run(order: RunOrder): Promise<RunReply> {
    const known = this.#held.get(order.taskId);
    if (known?.attempt.claim.attempt === order.attempt) return inTime(known.begun);
    if (known !== undefined) {
      const message = `attempt ${known.attempt.claim.attempt} is still here`;
      return { outcome: "refused", reason: "superseded", message };
    }
    const nowMs = performance.now();
    const admitted = this.#atWork().map(({ room, sinceMs }) => ({ ...room, ageMs: nowMs - sinceMs }));
    const capacity = this.#options.capacity();
    const memoryLimitBytes = memoryLimitOf(order.request, capacity.vmMemoryBytes);
    const refused =
      refusalOf(order, capacity, admitted) ??
      limitRefusalOf(memoryLimitBytes, admitted, capacity.vmMemoryBytes);
    if (refused !== null) return refused;
    const taken = this.#options.instances.take();
    if (taken === null) return notReady(this.#options.instances.problem());
    const room = { ...countedOf(order), memoryLimitBytes };
    const attempt = HeldAttempt.of(this.#ports, this.#options.hostId, order, room, taken.instance);
    const begun = attempt.begin(order, taken.stretch);
    this.#hold(attempt, begun, attempt.work(order));
    return inTime(begun);
  }

  stop(order: StopOrder): StopReply {
    const held = this.#held.get(order.taskId)?.attempt;
    if (held?.claim.attempt !== order.attempt) return { outcome: "not-here" };
    held.stop({ category: order.reason, message: WHY_STOPPED[order.reason] });
    return { outcome: "stopping" };
  }

  say(order: SayOrder): SayReply {
    const held = this.#held.get(order.taskId)?.attempt;
    const run = held?.claim.attempt === order.attempt ? held.run : null;
    return { outcome: run === null ? "not-here" : tell(run, order) ? "said" : "not-heard" };
  }

  /** Ends the youngest so many, whose tasks then run elsewhere. */
  handBack(count: number, message: string): void {
    const youngest = this.#atWork().sort((one, other) => other.sinceMs - one.sinceMs);
    for (const attempt of youngest.slice(0, count)) attempt.stop({ category: "preempted", message });
  }

  /** Says what a former life finished and could not say. */
  adopt({ taskId, attempt, nonce, after, fact }: Finished): void {
    const claim = { taskId, hostId: this.#options.hostId, attempt, nonce, after };
    const left = new HeldAttempt(this.#ports, claim, NO_ROOM, null);
    this.#hold(left, Promise.resolve(HAS_ENDED), left.conclude(fact, true));
  }

  /** Waits until the end of each one here is on the log, but no longer than that. */
  async untilNone(deadlineMs: number): Promise<void> {
    const deadline = new Promise((done) => setTimeout(done, deadlineMs).unref());
    await Promise.race([Promise.allSettled(this.#working), deadline]);
  }

  /** Ends what runs, says so as far as the bus lets it within the deadline, and accepts nothing more. */
  async close(failure: Failure, deadlineMs: number): Promise<void> {
    this.#stopAll(failure);
    await this.untilNone(deadlineMs);
    this.#closing.abort();
    await Promise.allSettled(this.#working);
  }

  /** Keeps it for as long as there is anything to do or to say of it. */
  #hold(attempt: HeldAttempt, begun: Promise<RunReply>, life: Promise<void>): void {
    const { taskId } = attempt.claim;
    this.#held.set(taskId, { attempt, begun });
    const working = life.finally(() => {
      this.#held.delete(taskId);
      this.#working.delete(working);
    });
    this.#working.add(working);
  }

  #all(): HeldAttempt[] {
    return [...this.#held.values()].map(({ attempt }) => attempt);
  }

  #atWork(): HeldAttempt[] {
    return this.#all().filter(({ over }) => !over);
  }

  #stopAll(failure: Failure): void {
    for (const attempt of this.#all()) attempt.stop(failure);
  }
}

const notReady = (problem: string | null): RunReply => ({
  outcome: "refused",
  reason: "not-ready",
  message: `no instance of this host is ready${problem === null ? "" : `: ${problem}`}`,
});

function tell(run: Run, { text, interrupt, approval }: SayOrder): boolean {
  if (approval !== undefined && !run.answer(approval.id, approval.allow)) return false;
  if (interrupt && !run.interrupt()) return false;
  return text === undefined || run.say(text);
}

/** Whoever gave the order is answered in time; asking again, they are told what the log has decided meanwhile. */
async function inTime(begun: Promise<RunReply>): Promise<RunReply> {
  const patience = Promise.withResolvers<RunReply>();
  const unknown = { outcome: "refused", reason: "unknown", message: "the log has not answered yet" } as const;
  const timer = setTimeout(() => patience.resolve(unknown), RUN_REPLY_MS);
  return Promise.race([begun, patience.promise]).finally(() => clearTimeout(timer));
}

const HAS_ENDED: RunReply = { outcome: "refused", reason: "superseded", message: "it has ended" };

const WHY_STOPPED: Record<StopOrder["reason"], string> = {
  cancelled: "the task was cancelled",
  timeout: "the task took longer than it may",
  preempted: "it made room: its host is being drained, or urgent work needs it",
};
