// What an attempt prints, on its way out: to LOGS in chunks as it comes, and whole into a file that becomes an
// artifact. It never waits for the bus, both ways are bounded, and secrets take neither.
import { createWriteStream, type WriteStream } from "node:fs";
import { StringDecoder } from "node:string_decoder";
import type { Bus } from "../../../shared/bus/connect.ts";
import { type AgentEvent, EVENT_TEXT_MAX } from "../../../shared/contracts/agent-event.ts";
import { type LogChunk, logSubject } from "../../../shared/contracts/log.ts";
import { type Redactor, redactedCut } from "../redaction.ts";

const CHUNK_CHARACTERS = 16_384;
const FLUSH_MS = 100;
/** Of an attempt's output: so much from its beginning, on LOGS and in its artifacts alike. */
export const LOG_HEAD_BYTES = 16 * 1_048_576;
/** And, when that is used up, so much from the end of each of its processes. */
export const LOG_TAIL_BYTES = 65_536;

type Stream = "stdout" | "stderr";
type Source = Stream | "check";

export interface LogSink extends AsyncDisposable {
  phase(phase: NonNullable<LogChunk["phase"]>, text: string): void;
  /** A sink for one process's output, kept in `file` as it is told; a transcript is kept and not told. */
  open(source: Source | "output" | "transcript", file: string): OutputSink;
}

export interface OutputSink {
  write(stream: Stream, bytes: Buffer): void;
  /** Tells what an agent does, with what it says to a person. */
  event(event: AgentEvent, inWords: (event: AgentEvent) => string): void;
  /** Resolves when the file is complete. */
  end(): Promise<void>;
}

export function createLogSink(
  bus: Bus,
  redactor: Redactor,
  owner: { taskId: string; attempt: number; hostId: string },
): LogSink {
  const subject = logSubject.build({ ...owner, attempt: String(owner.attempt) });
  let roomBytes = LOG_HEAD_BYTES;
  let toldOfEnd = false;
  let pending: { source: LogChunk["source"]; text: string } | null = null;
  let timer: NodeJS.Timeout | null = null;

  const publish = (chunk: Omit<LogChunk, "at">) => {
    if (bus.connectedSince() === null) return;
    bus.connection.publish(subject, JSON.stringify({ at: new Date().toISOString(), ...chunk }));
  };
  const flush = () => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (pending !== null && pending.text !== "") publish(pending);
    pending = null;
  };
  const say = (source: Source, text: string) => {
    if (text === "") return;
    if (pending !== null && pending.source !== source) flush();
    pending = { source, text: (pending?.text ?? "") + text };
    if (pending.text.length >= CHUNK_CHARACTERS) flush();
    else timer ??= setTimeout(flush, FLUSH_MS);
  };

  const sayPhase: LogSink["phase"] = (phase, text) => {
    flush();
    publish({ source: "phase", phase, text: redactor.text(text) });
  };

  const redacted = (event: AgentEvent): AgentEvent => {
    const told = Object.entries(event).map(([key, value]: [string, unknown]) => [
      key,
      typeof value === "string" ? redactedCut(redactor, value, EVENT_TEXT_MAX) : value,
    ]);
    return Object.fromEntries(told) as AgentEvent;
  };

  const endOfHead = () => {
    roomBytes = 0;
    if (!toldOfEnd)
      sayPhase(
        "truncated",
        `more than ${LOG_HEAD_BYTES} bytes: of what follows, the last ${LOG_TAIL_BYTES} of each process are told at its end`,
      );
    toldOfEnd = true;
  };

  return {
    phase: sayPhase,
    open(source, file) {
      const output = openOutput(file, {
        say(stream, text) {
          if (source !== "transcript") say(source === "output" ? stream : source, text);
        },
        leftOut: (bytes) => sayPhase("truncated", `${bytes} bytes are left out here`),
      });
      const streams = { stdout: redactor.stream(), stderr: redactor.stream() };
      const tell = (stream: Stream, bytes: Buffer) => {
        const head = bytes.subarray(0, roomBytes);
        roomBytes -= head.length;
        output.head(stream, head);
        if (head.length === bytes.length) return;
        endOfHead();
        output.tail(stream, bytes.subarray(head.length));
      };
      return {
        write: (stream, bytes) => tell(stream, streams[stream].push(bytes)),
        event(event, inWords) {
          const told = redacted(event);
          const text = inWords(told);
          roomBytes -= JSON.stringify(told).length + text.length;
          if (roomBytes < 0) return endOfHead();
          flush();
          publish({ source: "agent", text, event: told });
          output.note(text);
        },
        end() {
          for (const stream of ["stdout", "stderr"] as const) tell(stream, streams[stream].end());
          return output.end();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      flush();
    },
  };
}

interface Teller {
  say(stream: Stream, text: string): void;
  leftOut(bytes: number): void;
}

/** One process's output: its head as it comes, and at its end what was kept of the rest. */
function openOutput(file: string, { say, leftOut }: Teller) {
  let decoders = { stdout: new StringDecoder("utf8"), stderr: new StringDecoder("utf8") };
  const whole: WriteStream = createWriteStream(file);
  const rest = new Tail();
  let problem: Error | null = null;
  // A full disk costs the artifact, not the attempt.
  whole.on("error", (error) => {
    problem = error;
  });
  const head = (stream: Stream, bytes: Buffer) => {
    say(stream, decoders[stream].write(bytes));
    if (problem === null) whole.write(bytes);
  };
  const endOfText = () => {
    for (const stream of ["stdout", "stderr"] as const) say(stream, decoders[stream].end());
  };
  return {
    head,
    /** Into the file alone. */
    note(text: string) {
      if (problem === null && text !== "") whole.write(text);
    },
    tail: (stream: Stream, bytes: Buffer) => rest.push(stream, bytes),
    async end(): Promise<void> {
      if (rest.leftOutBytes > 0) {
        endOfText();
        decoders = { stdout: new StringDecoder("utf8"), stderr: new StringDecoder("utf8") };
        leftOut(rest.leftOutBytes);
        if (problem === null) whole.write(`\n[${rest.leftOutBytes} bytes are left out here]\n`);
      }
      for (const { stream, bytes } of rest.pieces) head(stream, bytes);
      endOfText();
      if (problem === null) await new Promise<void>((done) => whole.end(() => done()));
    },
  };
}

/** The last bytes of an output, and how many were before them. */
class Tail {
  readonly pieces: { stream: Stream; bytes: Buffer }[] = [];
  leftOutBytes = 0;
  #bytes = 0;

  push(stream: Stream, bytes: Buffer): void {
    // A copy: a piece of a few bytes must not keep the whole frame that it came in.
    this.pieces.push({ stream, bytes: Buffer.from(bytes) });
    this.#bytes += bytes.length;
    for (
      let first = this.pieces[0];
      first !== undefined && this.#bytes > LOG_TAIL_BYTES;
      first = this.pieces[0]
    ) {
      const dropped = Math.min(first.bytes.length, this.#bytes - LOG_TAIL_BYTES);
      this.leftOutBytes += dropped;
      this.#bytes -= dropped;
      if (dropped === first.bytes.length) this.pieces.shift();
      else first.bytes = first.bytes.subarray(dropped);
    }
  }
}
