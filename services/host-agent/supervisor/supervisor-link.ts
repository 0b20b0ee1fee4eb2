// The host's end of the line to a guest supervisor: starts it, speaks its frames, and knows when it has died.
// Whatever was running then counts as ended, since nothing outlives its supervisor.
import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { FramedStreams } from "../guest/framed-streams.ts";
import type { Stamp } from "../guest/lease.ts";
import {
  type AttemptUse,
  type Exec,
  type Exit,
  type ExitCause,
  encodeControl,
  encodeData,
  type Frame,
  FrameDecoder,
  type FromGuest,
  type Hello,
  PROTOCOL_VERSION,
  type Tick,
  type ToGuest,
} from "../guest/protocol.ts";

export type ExecSpec = Omit<Exec, "process">;
export type ExitRecord = Omit<Exit, "process" | "cause"> & { cause: ExitCause | "supervisor-died" };

export interface GuestProcess {
  /** Never rejects. */
  readonly finished: Promise<ExitRecord>;
  write(bytes: Buffer): void;
  endStdin(): void;
  signal(name: NodeJS.Signals): void;
}

type OnOutput = (stream: "stdout" | "stderr", bytes: Buffer) => void;
/** A connection that the attempt has opened at this door of its instance. */
type OnStream = (attempt: string, door: string, stream: Duplex) => void;

/** `frozen`: the stretch no longer lasts, and the attempt stands still. `gone`: there is nothing of it. */
export type Thawing = "thawed" | "frozen" | "gone";

export interface SupervisorLink extends AsyncDisposable {
  readonly hello: Hello;
  latestTick(): Tick | null;
  /** What the attempt uses, as it was told last; null while that is not known. */
  useOf(attempt: string): AttemptUse | null;
  renewLease(stamp: Stamp): void;
  /** The machine has slept: nothing may run before a newer stamp. */
  freeze(): void;
  thaw(attempt: string, stretch: string): Promise<Thawing>;
  exec(spec: ExecSpec, onOutput: OnOutput): GuestProcess;
  /** A program of the guest's own, by the arguments of `guest/main.ts`. */
  serve(args: string[], onOutput: OnOutput): GuestProcess;
  /** Guest's clock less this machine's, by the latest tick, ms: how long that took to come is in it. */
  clockSkewMs(): number | null;
  /** Resolves when nothing of the attempt is left. */
  kill(attempt: string): Promise<void>;
  onFrozen(listener: (attempt: string) => void): void;
  /** Whoever answers at doors. */
  onStream(listener: OnStream): void;
  /** Why, once nothing of it is left. */
  readonly died: Promise<string>;
}

const HELLO_MS = 15_000;
/** Its silence is counted in so many looks, so that time in which this process itself stood still is none. */
const SILENT_LOOKS = 20;
const CLOSE_MS = 8_000;

/** Rejects when no supervisor says hello. `command` is its whole argv. */
export async function connectSupervisor(options: {
  command: string[];
  /** This process's own if not given. */
  env?: NodeJS.ProcessEnv;
  onStderr: (text: string) => void;
  /** One that says nothing for so long has hung, ms. */
  silenceMs: number;
  /** It has so long to say hello, ms. */
  helloMs?: number;
  /** Ends what a dead supervisor may have left, and sees it gone. */
  endLeftovers: () => Promise<void>;
}): Promise<SupervisorLink> {
  const { helloMs = HELLO_MS } = options;
  const [program = "", ...args] = options.command;
  const child = spawn(program, args, {
    stdio: ["pipe", "pipe", "pipe"],
    windowsHide: true,
    ...(options.env ? { env: options.env } : {}),
  });
  const running = new Map<number, { onOutput: OnOutput; resolve: (exit: ExitRecord) => void }>();
  const gone = new Map<string, PromiseWithResolvers<void>>();
  const thawing = new Map<string, (thawing: Thawing) => void>();
  const frozenListeners: ((attempt: string) => void)[] = [];
  let onStream: OnStream = (_attempt, _door, stream) => stream.destroy();
  const hello = Promise.withResolvers<Hello>();
  const died = Promise.withResolvers<string>();
  const decoder = new FrameDecoder<FromGuest>();
  let tick: Tick | null = null;
  let uses = new Map<string, AttemptUse>();
  let skewMs: number | null = null;
  let nextProcess = 1;
  let silentLooks = 0;
  let dead = false;

  const write = (bytes: Buffer) => dead || child.stdin.write(bytes);
  const send = (message: ToGuest) => write(encodeControl(message));
  const streams = new FramedStreams(write);

  function die(reason: string): void {
    if (dead) return;
    dead = true;
    child.kill("SIGKILL");
    streams.destroy();
    for (const resolve of thawing.values()) resolve("gone");
    void options.endLeftovers().then(() => {
      for (const { resolve } of running.values())
        resolve({ exitCode: null, signal: null, durationMs: 0, cause: "supervisor-died", message: reason });
      for (const { resolve } of gone.values()) resolve();
      hello.reject(new Error(`the guest supervisor did not start: ${reason}`));
      died.resolve(reason);
    });
  }

  function begin(onOutput: OnOutput, ask: (number: number) => ToGuest): GuestProcess {
    const number = nextProcess++;
    const { promise, resolve } = Promise.withResolvers<ExitRecord>();
    if (dead) resolve({ exitCode: null, signal: null, durationMs: 0, cause: "supervisor-died" });
    running.set(number, { onOutput, resolve });
    send(ask(number));
    return {
      finished: promise,
      write: (bytes) => void write(encodeData("stdin", number, bytes)),
      endStdin: () => send({ type: "stdinEnd", process: number }),
      signal: (name) => send({ type: "signal", process: number, signal: name }),
    };
  }

  function hear(frame: Frame<FromGuest>): void {
    if (streams.hear(frame)) return;
    if (frame.kind !== "control") {
      if (frame.kind === "stdout" || frame.kind === "stderr")
        running.get(frame.number)?.onOutput(frame.kind, frame.bytes);
      return;
    }
    const { message } = frame;
    switch (message.type) {
      case "hello":
        if (message.protocol === PROTOCOL_VERSION) hello.resolve(message);
        else die(`it speaks protocol ${message.protocol}; this host speaks ${PROTOCOL_VERSION}`);
        return;
      case "tick":
        tick = message;
        skewMs = message.stamp.wallMs - Date.now();
        return;
      case "use":
        uses = new Map(message.attempts.map((use) => [use.attempt, use]));
        return;
      case "streamOpened":
        onStream(message.attempt, message.door, streams.open(message.stream, message.attempt));
        return;
      case "frozen": {
        streams.hold(message.attempt, true);
        const waiting = thawing.get(message.attempt);
        thawing.delete(message.attempt);
        if (waiting) waiting("frozen");
        else for (const listener of frozenListeners) listener(message.attempt);
        return;
      }
      case "thawed":
        streams.hold(message.attempt, false);
        thawing.get(message.attempt)?.("thawed");
        thawing.delete(message.attempt);
        return;
      case "exit": {
        const { type, process: number, ...exit } = message;
        running.get(number)?.resolve(exit);
        running.delete(number);
        return;
      }
      case "gone":
        streams.destroy(message.attempt);
        thawing.get(message.attempt)?.("gone");
        thawing.delete(message.attempt);
        gone.get(message.attempt)?.resolve();
        gone.delete(message.attempt);
        return;
      case "protocolError":
        die(message.message);
        return;
      default:
        return;
    }
  }

  child.on("error", (error) => die(error.message));
  child.on("exit", (code, signal) =>
    die(signal === null ? `it exited ${code}` : `it was ended by ${signal}`),
  );
  child.stdin.on("error", () => {});
  child.stdin.on("drain", () => streams.drained());
  child.stderr.setEncoding("utf8").on("data", options.onStderr);
  child.stdout.on("data", (chunk: Buffer) => {
    silentLooks = 0;
    try {
      for (const frame of decoder.push(chunk)) hear(frame);
    } catch (error) {
      die((error as Error).message);
    }
  });
  const timer = setTimeout(() => die(`no hello within ${helloMs} ms`), helloMs);

  const greeting = await hello.promise.finally(() => clearTimeout(timer));
  const watch = setInterval(() => {
    if (++silentLooks > SILENT_LOOKS) die(`it has said nothing for ${options.silenceMs} ms`);
  }, options.silenceMs / SILENT_LOOKS);
  void died.promise.then(() => clearInterval(watch));
  return {
    hello: greeting,
    latestTick: () => (dead ? null : tick),
    useOf: (attempt) => (dead ? null : (uses.get(attempt) ?? null)),
    renewLease: (stamp) => send({ type: "lease", stamp }),
    freeze: () => send({ type: "freeze" }),
    thaw(attempt, stretch) {
      if (dead) return Promise.resolve("gone");
      const { promise, resolve } = Promise.withResolvers<Thawing>();
      thawing.set(attempt, resolve);
      send({ type: "thaw", attempt, stretch });
      return promise;
    },
    exec: (spec, onOutput) => begin(onOutput, (number) => ({ type: "exec", process: number, ...spec })),
    serve: (args, onOutput) => begin(onOutput, (number) => ({ type: "serve", process: number, args })),
    clockSkewMs: () => (dead ? null : skewMs),
    kill(attempt) {
      if (dead) return died.promise.then(() => {});
      const waiting = gone.get(attempt) ?? Promise.withResolvers<void>();
      gone.set(attempt, waiting);
      send({ type: "kill", attempt });
      return waiting.promise;
    },
    onFrozen: (listener) => void frozenListeners.push(listener),
    onStream: (listener) => {
      onStream = listener;
    },
    died: died.promise,
    async [Symbol.asyncDispose]() {
      await close(child);
      await died.promise;
    },
  };
}

/** With its stdin closed it ends everything, then itself. */
async function close(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((done) => child.once("exit", () => done()));
  child.stdin?.end();
  const force = setTimeout(() => child.kill("SIGKILL"), CLOSE_MS);
  await exited;
  clearTimeout(force);
}
