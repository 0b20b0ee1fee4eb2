// Keeps a guest supervisor alive for the host agent: begins another when one has died, and knows which
// attempts have anything in it.
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { AttemptUse, Hello } from "../guest/protocol.ts";
import {
  connectSupervisor,
  type ExecSpec,
  type GuestProcess,
  type SupervisorLink,
  type Thawing,
} from "./supervisor-link.ts";

export interface Guest extends AsyncDisposable {
  /** Of the living supervisor; null while there is none. */
  hello(): Hello | null;
  /** The supervisor's latest stamp, as the function that hands it back to that same supervisor. */
  takeStamp(): (() => void) | null;
  /** Resolves when there is a stamp for a heartbeat to take along. */
  firstStamp(): Promise<void>;
  /** The unbroken stretch of lease that holds now; null if none does. */
  stretch(): string | null;
  /** Waits for one; null when the signal says stop. */
  nextStretch(signal: AbortSignal): Promise<string | null>;
  /** What the attempt uses; null while nobody can tell. */
  useOf(attemptKey: string): AttemptUse | null;
  exec(spec: ExecSpec, onOutput: (stream: "stdout" | "stderr", bytes: Buffer) => void): GuestProcess;
  /** A program of the guest's own, by the arguments of `guest/main.ts`. */
  serve(args: string[], onOutput: (stream: "stdout" | "stderr", bytes: Buffer) => void): GuestProcess;
  /** Its clock less this machine's, ms; null while there is no supervisor. */
  clockSkewMs(): number | null;
  /** Tells the supervisor that the machine has slept. */
  freeze(): void;
  /** Lets a frozen attempt run under the stretch, if that still lasts. */
  thaw(attemptKey: string, stretch: string): Promise<Thawing>;
  /** Has connections at this door of the attempt's instances answered, until the attempt is released. */
  answerAt(attemptKey: string, door: string, answer: (stream: Duplex) => void): void;
  /** Ends whatever the attempt has; resolves when it is gone. */
  release(attemptKey: string): Promise<void>;
  onFrozen(listener: (attemptKey: string) => void): void;
  onDied(listener: (reason: string) => void): void;
}

const POLL_MS = 50;
const RESTART_MS = 1_000;
const RESTART_MAX_MS = 30_000;

export async function keepGuest(options: {
  /** Argv of a supervisor, once what it runs on is there; asked for again for each. */
  command: () => Promise<string[]>;
  env?: NodeJS.ProcessEnv;
  /** Ends it as disposing does, as long as there is nothing to dispose. */
  signal?: AbortSignal;
  silenceMs: number;
  /** Ends what a supervisor that died may have left; rejects when it cannot. */
  endFormerLife: () => Promise<unknown>;
  log: Logger;
}): Promise<Guest> {
  const { log } = options;
  const frozenListeners: ((attemptKey: string) => void)[] = [];
  const diedListeners: ((reason: string) => void)[] = [];
  const used = new Set<string>();
  const releasing = new Map<string, Promise<void>>();
  const answering = new Map<string, Map<string, (stream: Duplex) => void>>();
  const closing = new AbortController();
  const close = () => closing.abort();
  let link: SupervisorLink | null = null;
  let restarted = Promise.resolve();

  async function connect(): Promise<void> {
    const command = await unlessAborted(options.command(), closing.signal);
    const connected = await connectSupervisor({
      command,
      ...(options.env ? { env: options.env } : {}),
      onStderr: (text) => log.warn({ text }, "guest supervisor"),
      silenceMs: options.silenceMs,
      endLeftovers,
    });
    link = connected;
    connected.onStream((attemptKey, door, stream) => {
      const answer = answering.get(attemptKey)?.get(door);
      if (answer === undefined) stream.destroy();
      else answer(stream);
    });
    connected.onFrozen((attemptKey) => {
      for (const listener of frozenListeners) listener(attemptKey);
    });
    void connected.died.then(async (reason) => {
      link = null;
      used.clear();
      if (closing.signal.aborted) return;
      log.error({ reason }, "the guest supervisor died: its trees died with it");
      for (const listener of diedListeners) listener(reason);
      restarted = restart();
    });
  }

  /** Nothing is told of what has ended before it has: else its task would begin elsewhere beside it. */
  async function endLeftovers(): Promise<void> {
    for (;;) {
      try {
        await options.endFormerLife();
        return;
      } catch (error) {
        log.error(error, "what a guest supervisor left cannot be ended");
        // Then this host has said all that it will say.
        if (closing.signal.aborted) return;
        await delay(RESTART_MS, null, { signal: closing.signal }).catch(() => {});
      }
    }
  }

  async function restart(): Promise<void> {
    for (let waitMs = RESTART_MS; !closing.signal.aborted; waitMs = Math.min(2 * waitMs, RESTART_MAX_MS)) {
      try {
        return await connect();
      } catch (error) {
        log.error(error, "no guest supervisor can be started");
        await delay(waitMs, null, { signal: closing.signal }).catch(() => {});
      }
    }
  }

  options.signal?.throwIfAborted();
  options.signal?.addEventListener("abort", close);
  await connect().finally(() => options.signal?.removeEventListener("abort", close));
  return {
    hello: () => link?.hello ?? null,
    takeStamp() {
      const from = link;
      const stamp = from?.latestTick()?.stamp;
      return from && stamp ? () => from.renewLease(stamp) : null;
    },
    async firstStamp() {
      while (!closing.signal.aborted && (link?.latestTick() ?? null) === null) await delay(POLL_MS);
    },
    stretch: () => link?.latestTick()?.stretch ?? null,
    async nextStretch(signal) {
      while (!signal.aborted && !closing.signal.aborted) {
        const stretch = link?.latestTick()?.stretch ?? null;
        if (stretch !== null) return stretch;
        await delay(POLL_MS);
      }
      return null;
    },
    useOf: (attemptKey) => link?.useOf(attemptKey) ?? null,
    exec(spec, onOutput) {
      if (link === null) throw new Error("there is no guest supervisor at the moment");
      used.add(spec.attempt);
      return link.exec(spec, onOutput);
    },
    serve(args, onOutput) {
      if (link === null) throw new Error("there is no guest supervisor at the moment");
      return link.serve(args, onOutput);
    },
    clockSkewMs: () => link?.clockSkewMs() ?? null,
    freeze: () => link?.freeze(),
    thaw: async (attemptKey, stretch) => (link === null ? "gone" : link.thaw(attemptKey, stretch)),
    answerAt(attemptKey, door, answer) {
      const doors = answering.get(attemptKey) ?? new Map<string, (stream: Duplex) => void>();
      answering.set(attemptKey, doors.set(door, answer));
    },
    async release(attemptKey) {
      if (used.delete(attemptKey) && link !== null)
        releasing.set(
          attemptKey,
          link.kill(attemptKey).finally(() => releasing.delete(attemptKey)),
        );
      await releasing.get(attemptKey);
      answering.delete(attemptKey);
    },
    onFrozen: (listener) => void frozenListeners.push(listener),
    onDied: (listener) => void diedListeners.push(listener),
    async [Symbol.asyncDispose]() {
      closing.abort();
      // One that is just beginning is to end as well.
      await restarted;
      await link?.[Symbol.asyncDispose]();
    },
  };
}

/** What it waits for may take very long, and is nothing that has to be ended. */
export async function unlessAborted<Value>(wanted: Promise<Value>, signal: AbortSignal): Promise<Value> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason as Error);
  signal.addEventListener("abort", abort);
  wanted.catch(() => {});
  return Promise.race([wanted, aborted.promise]).finally(() => signal.removeEventListener("abort", abort));
}
