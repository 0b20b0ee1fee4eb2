// The one way to read a stream as it grows: every message from a sequence on, in order, each once, through
// reconnects and restarts of the server.
import { DeliverPolicy, type JsMsg } from "@nats-io/jetstream";
import { decodeFact, type Fact, type Malformed } from "../contracts/fact.ts";
import { FoldedLog, type OnFolded } from "../lifecycle/folded-log.ts";
import type { Bus } from "./connect.ts";
import { TASKS } from "./streams.ts";

export interface Message {
  subject: string;
  payload: Uint8Array;
  sequence: number;
  /** The broker's time, ms since the epoch. */
  timeMs: number;
}

export interface Following extends AsyncDisposable {
  /** Resolves when everything that was stored when it began has been handed over. */
  readonly caughtUp: Promise<void>;
}

export interface FollowOptions {
  stream: string;
  /** All of the stream's subjects if not given. */
  subjects?: string[];
  /** First sequence wanted; 1 for all, `"new"` for what is stored from now on, `"last"` for the last of each subject on. */
  from: number | "new" | "last";
  /** Synchronous, so that order is kept. What it throws is a bug, and ends the process. */
  onMessage: (message: Message) => void;
}

export async function follow(bus: Bus, options: FollowOptions): Promise<Following> {
  const consumer = await bus.js.consumers.get(options.stream, {
    ...(options.subjects ? { filter_subjects: options.subjects } : {}),
    ...start(options.from),
    inactive_threshold: 60_000,
  });
  const { promise: caughtUp, resolve: done } = Promise.withResolvers<void>();
  let behind = true;
  const { num_pending: pending } = await consumer.info();
  if (pending === 0) settle();
  function settle() {
    behind = false;
    done();
  }
  const messages = await consumer.consume({
    max_messages: 1_000,
    expires: 10_000,
    callback: (message: JsMsg) => {
      options.onMessage({
        subject: message.subject,
        payload: message.data,
        sequence: message.seq,
        timeMs: Number(message.timestampNanos / 1_000_000n),
      });
      if (behind && message.info.pending === 0) settle();
    },
  });
  return {
    caughtUp,
    async [Symbol.asyncDispose]() {
      await messages.close();
    },
  };
}

function start(from: FollowOptions["from"]) {
  if (from === "new") return { deliver_policy: DeliverPolicy.New };
  if (from === "last") return { deliver_policy: DeliverPolicy.LastPerSubject };
  return from <= 1
    ? { deliver_policy: DeliverPolicy.All }
    : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: from };
}

/** Follows the task log from its beginning and folds it. */
export async function followTasks(bus: Bus, onFolded: OnFolded): Promise<Following & { log: FoldedLog }> {
  const log = new FoldedLog(onFolded);
  const following = await followFacts(bus, { from: 1 }, (fact) => log.apply(fact));
  return Object.assign(following, { log });
}

/** Follows the task log, of all tasks or of one, without folding. */
export const followFacts = (
  bus: Bus,
  options: { from: number | "new"; subjects?: string[] },
  onFact: (fact: Fact | Malformed, payload: Uint8Array) => void,
): Promise<Following> =>
  follow(bus, {
    stream: TASKS,
    ...options,
    onMessage: ({ subject, payload, sequence, timeMs }) => {
      const fact = decodeFact(subject, payload, sequence, timeMs);
      if (fact !== null) onFact(fact, payload);
    },
  });
