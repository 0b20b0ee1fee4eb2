// The one way to read a stream as it grows: every message from a sequence on, in order, each once, through
// reconnects and restarts of the server. It follows to the end or ends the process: a service that no longer hears
// what is said, or knows what is no longer so, must never go on.
import { setTimeout as delay } from "node:timers/promises";
import { type JsMsg, jetstreamManager } from "@nats-io/jetstream";
import { decodeFact, type Fact, type Malformed } from "../contracts/fact.ts";
import { FoldedLog, type OnFolded } from "../lifecycle/folded-log.ts";
import type { Bus } from "./connect.ts";
import { type Place, placeIn, StreamReplaced } from "./place.ts";
import { isConsumerMissing, isStreamMissing, openReading, type Reading } from "./reading.ts";
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
  /** The broker's clock now, ms since the epoch: the one that the times of messages are compared with. */
  brokerNowMs(): number;
}

export interface FollowOptions {
  stream: string;
  /** All of the stream's subjects if not given. */
  subjects?: string[];
  /**
   * First sequence wanted; 1 for all, `"new"` for what is stored from now on, `"last"` for the last of each subject
   * on. Who wants `"last"` keeps no history: after a stream that was lost with its server, it reads the next one.
   */
  from: number | "new" | "last";
  /**
   * Synchronous, so that order is kept. What it throws is a bug, and ends the process. `ageMs` is how long ago the
   * broker stored, by its own clock, what was there when this began; what comes later is heard as it comes, age 0.
   */
  onMessage: (message: Message, ageMs: number) => void;
}

/** Whether the broker still has the stream, and nothing lies there undelivered, is looked at so often, ms. */
const CHECK_MS = 5_000;
const PAUSE_MS = 250;
const SETTLE_MS = 500;
/** A stream that is missing for so long will not come back by itself, ms. */
const MISSING_MS = 10_000;

export async function follow(bus: Bus, options: FollowOptions): Promise<Following> {
  const { stream, from } = options;
  const manager = await jetstreamManager(bus.connection, { checkAPI: false });
  const { promise: caughtUp, resolve: arrive } = Promise.withResolvers<void>();
  let place: Place | null = null;
  let behind = true;
  let over = false;

  async function locate(again = true): Promise<Place> {
    // As it was when the broker was asked: its answer knows nothing of what is handed over meanwhile.
    const asked = place === null ? null : { ...place };
    const now = await manager.streams.info(stream);
    try {
      const found = placeIn(asked, now, from, performance.now());
      if (place?.created === found.created) found.seen = Math.max(found.seen, place.seen);
      place = found;
      return found;
    } catch (error) {
      if (!again) throw error;
      // The new leader of a cluster may be a moment behind the one before.
      await delay(SETTLE_MS);
      return locate(false);
    }
  }
  const brokerNowMs = () => (place?.clockMs ?? 0) + performance.now();

  /** Whatever this process still did would be done deaf. */
  function endProcess(reason: unknown): void {
    over = true;
    setImmediate(() => {
      throw reason instanceof StreamReplaced ? new Error(`${stream}: ${reason.message}`) : reason;
    });
  }

  function hand(message: JsMsg): void {
    const { subject, data: payload, seq: sequence } = message;
    if (over || place === null || sequence <= place.seen) return;
    const timeMs = Number(message.timestampNanos / 1_000_000n);
    const ageMs = behind ? Math.max(0, brokerNowMs() - timeMs) : 0;
    try {
      options.onMessage({ subject, payload, sequence, timeMs }, ageMs);
    } catch (error) {
      // The client would take it for the end of the messages, and be silent.
      endProcess(error);
    }
    place.seen = sequence;
    if (behind && message.info.pending === 0) settle();
  }
  function settle(): void {
    behind = false;
    arrive();
  }

  async function open(): Promise<Reading> {
    const { seen } = await locate();
    const reading = await openReading(bus, {
      stream,
      ...(options.subjects ? { subjects: options.subjects } : {}),
      from: seen > 0 || from === "new" ? seen + 1 : from,
      onMessage: hand,
    });
    if (reading.atEnd) settle();
    return reading;
  }

  /** Opens it again where it was, as soon as the broker lets it. */
  async function reopen(): Promise<Reading | null> {
    let missingSinceMs = Number.POSITIVE_INFINITY;
    while (!over) {
      try {
        return await open();
      } catch (error) {
        missingSinceMs = isStreamMissing(error) ? Math.min(missingSinceMs, performance.now()) : Infinity;
        const closed = bus.connection.isClosed();
        // Its owner has closed the bus, or the client has given it up.
        if (closed && !((await bus.connection.closed()) instanceof Error)) return null;
        if (closed || error instanceof StreamReplaced) endProcess(error);
        else if (performance.now() - missingSinceMs > MISSING_MS)
          endProcess(new Error(`${stream}: the broker has no such stream any more`));
      }
      await delay(PAUSE_MS);
    }
    return null;
  }

  let reading: Reading | null = await open();
  void (async () => {
    while (reading !== null) {
      const openedAtMs = performance.now();
      await reading.ended;
      if (performance.now() - openedAtMs < PAUSE_MS) await delay(PAUSE_MS);
      reading = await reopen();
      if (over) await reading?.close();
    }
  })();
  // The server may have been started again, without the consumer.
  const reconnects = bus.onReconnect(() => void reading?.close());

  let seenBefore = -1;
  /** What no message tells: the stream may be another one, and messages may lie there that nobody delivers. */
  async function check(): Promise<void> {
    const looked = reading;
    if (looked === null || bus.connectedSince() === null) return;
    try {
      const { seen } = await locate();
      const stuck = (await looked.pending()) > 0 && seen === seenBefore && seen === place?.seen;
      seenBefore = seen;
      if (stuck) await looked.close();
    } catch (error) {
      // Opening it again finds the same, and draws the conclusion. Anything else is a bus that is away.
      if (error instanceof StreamReplaced || isStreamMissing(error) || isConsumerMissing(error))
        await looked.close();
    }
  }
  const timer = setInterval(() => void check(), CHECK_MS);

  return {
    caughtUp,
    brokerNowMs,
    async [Symbol.asyncDispose]() {
      over = true;
      clearInterval(timer);
      reconnects[Symbol.dispose]();
      await reading?.close();
    },
  };
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
