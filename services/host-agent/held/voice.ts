// How a host speaks about its attempts on the log, and what it makes of a refusal: it asks what is true,
// compares attempt, host and nonce, and never repeats an old decision with a new sequence.
import { setTimeout as delay } from "node:timers/promises";
import { appendFact, type Truth } from "../../../shared/bus/append.ts";
import type { Bus } from "../../../shared/bus/connect.ts";
import type { FactBody, NewFact } from "../../../shared/contracts/fact.ts";
import { answer, type ErrorCode } from "../../../shared/contracts/failure.ts";
import type { TaskView } from "../../../shared/contracts/task.ts";
import { isEnd } from "../../../shared/lifecycle/table.ts";

/** One attempt as this host holds it. */
export interface Claim {
  taskId: string;
  hostId: string;
  attempt: number;
  nonce: string;
  /** Sequence of the last fact about the task that this host knows: what its next append names. */
  after: number;
}

/** `mine`: it may act. `stopping`: it is ours, but is to be cancelled. `gone`: it is not ours (any more). */
export type Standing = "mine" | "stopping" | "gone";

type Body<Kind extends "started" | "resumed" | "succeeded" | "faulted"> = Omit<
  FactBody<Kind>,
  "after" | "attempt" | "nonce"
>;

const UNHEARD = new Set<ErrorCode>(["not_found", "conflict"]);
const ROUND_MS = 10_000;
const PAUSE_MS = 250;

export class Voice {
  readonly #bus: Bus;
  readonly #truth: Truth<TaskView | null>;

  constructor(bus: Bus, truth: Truth) {
    this.#bus = bus;
    // That the log knows nothing of a task (a new log, or a made-up order), or no longer what this host has heard (one
    // that was restored), is as true as anything else it says.
    this.#truth = async (taskId, minSequence) => {
      const now = await truth(taskId, minSequence);
      return !now.ok && UNHEARD.has(now.error.code) ? answer(null) : now;
    };
  }

  /** Says that the attempt begins (again after a silence), until the log has decided or the signal says stop. */
  async begin(
    claim: Claim,
    kind: "started" | "resumed",
    body: Body<"started"> | Body<"resumed">,
    signal: AbortSignal,
  ): Promise<Standing> {
    while (!signal.aborted) {
      const said = await this.#say(claim, { kind, body }, signal);
      if (said.outcome === "impossible") return "gone";
      if (said.outcome === "unknown") continue;
      if (said.outcome === "appended") {
        claim.after = said.sequence;
        return "mine";
      }
      const { now } = said;
      if (now === null) return "gone";
      // Older than our own start: its teller has not followed so far.
      if (now.attempt < claim.attempt && !isEnd(now.state) && kind === "resumed") {
        await delay(PAUSE_MS);
        continue;
      }
      if (!isOf(claim, now) || !now.active) return "gone";
      claim.after = now.lastSequence;
      if (now.state !== "running") return "stopping";
      // `started`: our own append had arrived. `resumed` is said anew, on what is true now.
      if (kind === "started") return "mine";
    }
    return "gone";
  }

  /** Says how the attempt ended, until that is settled: on the log, or overtaken. */
  async end(
    claim: Claim,
    fact: { kind: "succeeded"; body: Body<"succeeded"> } | { kind: "faulted"; body: Body<"faulted"> },
    signal: AbortSignal,
  ): Promise<"said" | "overtaken" | "given-up"> {
    let saying: typeof fact = fact;
    while (!signal.aborted) {
      const said = await this.#say(claim, saying, signal);
      if (said.outcome === "appended") return "said";
      if (said.outcome === "unknown") continue;
      if (said.outcome === "impossible") {
        saying = faulted("internal", `the result cannot be put on the log: ${said.message}`);
        continue;
      }
      const { now } = said;
      if (now === null) return "overtaken";
      if (now.attempt < claim.attempt && !isEnd(now.state)) {
        await delay(PAUSE_MS);
        continue;
      }
      if (isEnd(now.state) || !isOf(claim, now)) return "overtaken";
      if (saying.kind === "faulted" && !now.active) return "overtaken";
      claim.after = now.lastSequence;
      if (now.state === "cancelling") saying = faulted("cancelled", "the task was cancelled");
    }
    return "given-up";
  }

  #say(claim: Claim, fact: { kind: NewFact["kind"]; body: object }, signal: AbortSignal) {
    const { taskId, hostId, after, attempt, nonce } = claim;
    const body = { ...fact.body, after, attempt, nonce };
    return appendFact(this.#bus, { taskId, kind: fact.kind, speaker: hostId, body } as NewFact, {
      deadlineMs: ROUND_MS,
      truth: this.#truth,
      signal,
    });
  }
}

const isOf = (claim: Claim, now: { attempt: number; hostId: string | null; nonce: string | null }): boolean =>
  now.attempt === claim.attempt && now.hostId === claim.hostId && now.nonce === claim.nonce;

const faulted = (category: "internal" | "cancelled", message: string) =>
  ({ kind: "faulted", body: { failure: { category, message } } }) as const;
