// One reader of a stream as it grows, through reconnects and restarts of the server. It follows to the end or ends the
// process: a service that no longer hears what is said, or knows what is no longer so, must never go on.
import { setTimeout as delay } from "node:timers/promises";
import type { JetStreamManager, JsMsg } from "@nats-io/jetstream";
import type { Bus } from "./connect.ts";
import { type Place, placeIn, StreamReplaced } from "./place.ts";
import { isConsumerMissing, isStreamMissing, openReading, type Reading } from "./reading.ts";

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

export class Follower implements Following {
  readonly caughtUp: Promise<void>;
  readonly #arrive: () => void;
  readonly #bus: Bus;
  readonly #manager: JetStreamManager;
  readonly #options: FollowOptions;
  readonly #owned = new DisposableStack();
  #place: Place | null = null;
  #reading: Reading | null = null;
  #behind = true;
  #over = false;
  #seenAtLastCheck = -1;

  constructor(bus: Bus, manager: JetStreamManager, options: FollowOptions) {
    this.#bus = bus;
    this.#manager = manager;
    this.#options = options;
    ({ promise: this.caughtUp, resolve: this.#arrive } = Promise.withResolvers<void>());
  }

  async begin(): Promise<void> {
    this.#reading = await this.#open();
    void this.#keepReading();
    // The server may have been started again, without the consumer.
    this.#owned.use(this.#bus.onReconnect(() => void this.#reading?.close()));
    const timer = setInterval(() => void this.#check(), CHECK_MS);
    this.#owned.defer(() => clearInterval(timer));
  }

  brokerNowMs(): number {
    return (this.#place?.clockMs ?? 0) + performance.now();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    this.#owned.dispose();
    await this.#reading?.close();
  }

  async #keepReading(): Promise<void> {
    while (this.#reading !== null) {
      const openedAtMs = performance.now();
      await this.#reading.ended;
      if (performance.now() - openedAtMs < PAUSE_MS) await delay(PAUSE_MS);
      this.#reading = await this.#reopen();
      if (this.#over) await this.#reading?.close();
    }
  }

  async #open(): Promise<Reading> {
    const { stream, subjects, from } = this.#options;
    const { seen } = await this.#locate();
    const reading = await openReading(this.#bus, {
      stream,
      ...(subjects ? { subjects } : {}),
      from: seen > 0 || from === "new" ? seen + 1 : from,
      onMessage: (message) => this.#hand(message),
    });
    if (reading.atEnd) this.#settle();
    return reading;
  }

  /** Opens it again where it was, as soon as the broker lets it. */
  async #reopen(): Promise<Reading | null> {
    const { connection } = this.#bus;
    let missingSinceMs = Number.POSITIVE_INFINITY;
    while (!this.#over) {
      try {
        return await this.#open();
      } catch (error) {
        missingSinceMs = isStreamMissing(error) ? Math.min(missingSinceMs, performance.now()) : Infinity;
        const closed = connection.isClosed();
        // Its owner has closed the bus, or the client has given it up.
        if (closed && !((await connection.closed()) instanceof Error)) return null;
        if (closed || error instanceof StreamReplaced) this.#endProcess(error);
        else if (performance.now() - missingSinceMs > MISSING_MS)
          this.#endProcess(new Error(`${this.#options.stream}: the broker has no such stream any more`));
      }
      await delay(PAUSE_MS);
    }
    return null;
  }

  async #locate(again = true): Promise<Place> {
    // As it was when the broker was asked: its answer knows nothing of what is handed over meanwhile.
    const asked = this.#place === null ? null : { ...this.#place };
    const now = await this.#manager.streams.info(this.#options.stream);
    try {
      const found = placeIn(asked, now, this.#options.from, performance.now());
      if (this.#place?.created === found.created) found.seen = Math.max(found.seen, this.#place.seen);
      this.#place = found;
      return found;
    } catch (error) {
      if (!again) throw error;
      // The new leader of a cluster may be a moment behind the one before.
      await delay(SETTLE_MS);
      return this.#locate(false);
    }
  }

  #hand(message: JsMsg): void {
    const { subject, data: payload, seq: sequence } = message;
    const place = this.#place;
    if (this.#over || place === null || sequence <= place.seen) return;
    const timeMs = Number(message.timestampNanos / 1_000_000n);
    const ageMs = this.#behind ? Math.max(0, this.brokerNowMs() - timeMs) : 0;
    try {
      this.#options.onMessage({ subject, payload, sequence, timeMs }, ageMs);
    } catch (error) {
      // The client would take it for the end of the messages, and be silent.
      this.#endProcess(error);
    }
    place.seen = sequence;
    if (this.#behind && message.info.pending === 0) this.#settle();
  }

  #settle(): void {
    this.#behind = false;
    this.#arrive();
  }

  /** What no message tells: the stream may be another one, and messages may lie there that nobody delivers. */
  async #check(): Promise<void> {
    const looked = this.#reading;
    if (looked === null || this.#bus.connectedSince() === null) return;
    try {
      const { seen } = await this.#locate();
      const undelivered = (await looked.pending()) > 0;
      const stuck = undelivered && seen === this.#seenAtLastCheck && seen === this.#place?.seen;
      this.#seenAtLastCheck = seen;
      if (stuck) await looked.close();
    } catch (error) {
      // Opening it again finds the same, and draws the conclusion. Anything else is a bus that is away.
      if (error instanceof StreamReplaced || isStreamMissing(error) || isConsumerMissing(error))
        await looked.close();
    }
  }

  /** Whatever this process still did would be done deaf. */
  #endProcess(reason: unknown): void {
    this.#over = true;
    const { stream } = this.#options;
    setImmediate(() => {
      throw reason instanceof StreamReplaced ? new Error(`${stream}: ${reason.message}`) : reason;
    });
  }
}
