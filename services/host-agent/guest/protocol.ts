// The frames that host agent and guest supervisor exchange over stdio. A frame is a 32-bit length, a kind byte and
// its payload; data frames begin with the number of their process or stream. What does not fit is an error, never skipped.
import type { Limits } from "./cgroup-limits.ts";
import type { Isolation, Mounts, Network } from "./inside.ts";
import type { Stamp } from "./lease.ts";

export const PROTOCOL_VERSION = 1;
const CONTROL_MAX_BYTES = 1_048_576;
const DATA_MAX_BYTES = 65_536;

export interface Exec {
  /** Unique in the life of the supervisor. */
  process: number;
  attempt: string;
  /** It may begin only under this unbroken stretch of lease. */
  stretch: string;
  argv: string[];
  cwd: string;
  /** The whole environment: nothing is inherited. */
  env: Record<string, string>;
  /** Appear at the paths of `inside.ts`, where namespaces allow it. */
  mounts?: Mounts;
  /** The machine's, if not given. */
  network?: Network;
  /** Its ways to the host; those of all commands of an attempt stay open until that has ended. */
  doors?: Door[];
  /** Time frozen does not count, ms. */
  timeoutMs?: number;
  /** It is ended as well once it has printed nothing for so long; time frozen does not count, ms. */
  silenceMs?: number;
  /** How it is asked to end, one after the other, before it is killed; by SIGTERM if not given. */
  stopSignals?: NodeJS.Signals[];
  /** What each of them has time for, ms. */
  killGraceMs?: number;
  stdin: "none" | "pipe";
  limits?: Limits;
}

/** A socket inside the instance that leads to the host, which knows it by its name. */
export interface Door {
  name: string;
  /** The command finds the socket's path in this variable of its environment. */
  pathVariable?: string;
  /** Of 127.0.0.1 in a network of the instance's own, where the door is to be found as well. */
  port?: number;
}

/** About a stream that came through a door. Either end may say it. */
export type StreamMessage =
  /** So many bytes of it have been taken, and as many more may be sent. */
  | { type: "streamTaken"; stream: number; bytes: number }
  /** Nothing more will be sent on it. */
  | { type: "streamEnd"; stream: number }
  /** It is broken off. */
  | { type: "streamClose"; stream: number };

export type ToGuest =
  | StreamMessage
  | { type: "lease"; stamp: Stamp }
  | ({ type: "exec" } & Exec)
  /** A program of the guest's own, by its arguments: outside the sandbox, under no lease, until the supervisor ends. */
  | { type: "serve"; process: number; args: string[] }
  | { type: "thaw"; attempt: string; stretch: string }
  | { type: "freeze" }
  | { type: "kill"; attempt: string }
  | { type: "signal"; process: number; signal: NodeJS.Signals }
  | { type: "stdinEnd"; process: number };

export type ExitCause =
  | "exited"
  | "timeout"
  | "silent"
  | "out-of-memory"
  | "disk-full"
  | "too-many-processes"
  | "killed"
  | "frozen-too-long"
  | "spawn-failed";

/** The last record of a process: its output has been passed on, and its whole tree is gone. */
export interface Exit {
  process: number;
  exitCode: number | null;
  signal: string | null;
  /** Without the time it was frozen, ms. */
  durationMs: number;
  cause: ExitCause;
  message?: string;
  /** What its attempt has needed at most so far, without file cache; left out where nobody can tell. */
  peakMemoryBytes?: number;
}

/** `watched`: its processes are looked at now and then, and ended once they have too much. */
export interface LimitsHeld {
  memory: "control-group" | "watched" | "none";
  processes: "control-group" | "none";
  cpus: "control-group" | "none";
}

export interface Hello {
  /** Unique over all lives of all supervisors. */
  supervisor: string;
  pid: number;
  protocol: number;
  isolation: Isolation;
  /** Instances can have a network of their own, in which there are doors alone. */
  ownNetwork: boolean;
  freezer: "cgroup-v2" | "cgroup-v1" | "signals";
  limits: LimitsHeld;
}

/** `stretch` is null while no lease holds. */
export interface Tick {
  stamp: Stamp;
  stretch: string | null;
}

/** What an attempt uses now; what nobody can tell is left out. */
export interface AttemptUse {
  attempt: string;
  /** Without what the kernel takes back once somebody needs the room. */
  memoryBytes?: number;
  /** Cores' worth of CPU time since it was told last. */
  cpus?: number;
}

export type FromGuest =
  | StreamMessage
  | { type: "streamOpened"; stream: number; attempt: string; door: string }
  | ({ type: "hello" } & Hello)
  | ({ type: "tick" } & Tick)
  | { type: "use"; attempts: AttemptUse[] }
  | { type: "spawned"; process: number; pid: number }
  | { type: "frozen"; attempt: string }
  | { type: "thawed"; attempt: string }
  | ({ type: "exit" } & Exit)
  | { type: "gone"; attempt: string }
  | { type: "protocolError"; message: string };

const DATA_KINDS = { stdout: 1, stderr: 2, stdin: 3, stream: 4 } as const;
export type DataKind = keyof typeof DATA_KINDS;
const CONTROL = 0;
const HEADER_BYTES = 5;
const KIND_NAMES: Record<number, DataKind> = { 1: "stdout", 2: "stderr", 3: "stdin", 4: "stream" };

export type Frame<Control> =
  | { kind: "control"; message: Control }
  | { kind: DataKind; number: number; bytes: Buffer };

export class ProtocolError extends Error {}

export function encodeControl(message: ToGuest | FromGuest): Buffer {
  const payload = Buffer.from(JSON.stringify(message));
  if (payload.length > CONTROL_MAX_BYTES)
    throw new ProtocolError(`a control frame of ${payload.length} bytes: ${CONTROL_MAX_BYTES} are allowed`);
  return Buffer.concat([header(payload.length, CONTROL), payload]);
}

/** As many frames as the bytes need. */
export function encodeData(kind: DataKind, number: number, bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += DATA_MAX_BYTES) {
    const part = bytes.subarray(at, at + DATA_MAX_BYTES);
    const whose = Buffer.alloc(4);
    whose.writeUInt32BE(number);
    parts.push(header(part.length + 4, DATA_KINDS[kind]), whose, part);
  }
  return Buffer.concat(parts);
}

function header(length: number, kind: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt32BE(length);
  bytes.writeUInt8(kind, 4);
  return bytes;
}

/** Takes a stream's chunks, however they are cut, and gives its whole frames. */
export class FrameDecoder<Control> {
  #chunks: Buffer[] = [];
  #length = 0;

  *push(chunk: Buffer): Generator<Frame<Control>> {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    for (;;) {
      if (this.#length < HEADER_BYTES) return;
      const head = this.#peek(HEADER_BYTES);
      const length = head.readUInt32BE();
      const kind = head.readUInt8(4);
      const limit = kind === CONTROL ? CONTROL_MAX_BYTES : DATA_MAX_BYTES + 4;
      if (length > limit)
        throw new ProtocolError(`a frame of kind ${kind} with ${length} bytes: ${limit} are allowed`);
      if (this.#length < HEADER_BYTES + length) return;
      yield decode(kind, this.#take(HEADER_BYTES + length).subarray(HEADER_BYTES));
    }
  }

  /** The stream has ended. */
  end(): void {
    if (this.#length > 0)
      throw new ProtocolError(`the stream ended within a frame (${this.#length} bytes of it came)`);
  }

  #peek(bytes: number): Buffer {
    const [first] = this.#chunks;
    return first !== undefined && first.length >= bytes ? first : this.#join();
  }

  #take(bytes: number): Buffer {
    const whole = this.#peek(bytes);
    this.#chunks[0] = whole.subarray(bytes);
    this.#length -= bytes;
    return whole.subarray(0, bytes);
  }

  /** One buffer of all: done when a frame is complete or its header is cut, hence rarely. */
  #join(): Buffer {
    const whole = Buffer.concat(this.#chunks);
    this.#chunks = [whole];
    return whole;
  }
}

function decode<Control>(kind: number, payload: Buffer): Frame<Control> {
  if (kind === CONTROL) {
    try {
      return { kind: "control", message: JSON.parse(payload.toString()) as Control };
    } catch {
      throw new ProtocolError("a control frame that is no JSON text");
    }
  }
  const name = KIND_NAMES[kind];
  if (name === undefined || payload.length < 4)
    throw new ProtocolError(`a frame of the unknown kind ${kind}`);
  return { kind: name, number: payload.readUInt32BE(), bytes: payload.subarray(4) };
}
