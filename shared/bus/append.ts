// The one way to put a fact on the log: under the guard "nothing was said about this task since `after`".
// An append whose answer got lost is sent again as it was; the guard lets at most one of them in.
import { JetStreamApiError } from "@nats-io/jetstream";
import { factSubject, type NewFact, taskSubjects } from "../contracts/fact.ts";
import type { Answer } from "../contracts/failure.ts";
import type { TaskView } from "../contracts/task.ts";
import { askApi } from "./ask.ts";
import type { Bus } from "./connect.ts";
import { isNoRoom } from "./no-room.ts";

export type Appended<Now = TaskView> =
  | { outcome: "appended"; sequence: number }
  /** Something else was said first (or this very fact was, and its answer got lost): this is true now. */
  | { outcome: "refused"; now: Now }
  /** The server takes no fact like this, ever. */
  | { outcome: "impossible"; message: string }
  /** No answer within the deadline: it may be on the log, or may yet arrive. Decide anew from the log. */
  | { outcome: "unknown"; why: string };

/** Tells what is true of a task now, having seen at least `minSequence` of it. */
export type Truth<Now = TaskView> = (taskId: string, minSequence: number) => Promise<Answer<Now>>;

/** What hosts and services ask: the status tracker. */
export const askTracker =
  (bus: Bus): Truth =>
  (taskId, minSequence) =>
    askApi(bus, "get", { taskId, minSequence }, ANSWER_MS);

const ANSWER_MS = 2_000;
const WRONG_LAST_SEQUENCE = new Set([10071, 10164]);
const TOO_LARGE = 10054;
const PAUSE_MS = 100;

export interface AppendOptions<Now> {
  deadlineMs: number;
  truth: Truth<Now>;
  signal?: AbortSignal;
  /** Asked whenever it is about to be sent: what was decided on something that has changed is not said any more. */
  holds?(): boolean;
}

export async function appendFact<Now>(
  bus: Bus,
  fact: NewFact,
  options: AppendOptions<Now>,
): Promise<Appended<Now>> {
  const subject = factSubject.build({ taskId: fact.taskId, kind: fact.kind, speaker: fact.speaker });
  const payload = JSON.stringify(fact.body);
  const expect = {
    lastSubjectSequence: fact.body.after,
    lastSubjectSequenceSubject: taskSubjects(fact.taskId),
  };
  const deadline = performance.now() + options.deadlineMs;
  let refused = false;
  let why = "it did not answer";
  do {
    if (options.holds?.() === false) return { outcome: "unknown", why: "what it was decided on has changed" };
    if (!refused) {
      try {
        const stored = await bus.js.publish(subject, payload, { expect, timeout: ANSWER_MS });
        return { outcome: "appended", sequence: stored.seq };
      } catch (error) {
        if (error instanceof JetStreamApiError) {
          if (error.code === TOO_LARGE)
            return { outcome: "impossible", message: "it is larger than the log takes" };
          refused = WRONG_LAST_SEQUENCE.has(error.code);
          if (!refused) why = error.message;
          // What room there may soon be is for facts of tasks that were taken.
          if (fact.kind === "requested" && isNoRoom(error)) break;
        } else if ((error as Error).name === "InvalidArgumentError") {
          return { outcome: "impossible", message: "it is larger than the server takes" };
        }
      }
    }
    if (refused) {
      const now = await options.truth(fact.taskId, fact.body.after + 1);
      if (now.ok) return { outcome: "refused", now: now.value };
    }
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  } while (performance.now() < deadline && options.signal?.aborted !== true);
  return { outcome: "unknown", why };
}
