// What an attempt prints, on its way out: to LOGS in chunks as it comes, and whole into a file that becomes an
// artifact. It never waits for the bus, and both ways are bounded.
import { createWriteStream, type WriteStream } from "node:fs";
import { StringDecoder } from "node:string_decoder";
import type { Bus } from "../../shared/bus/connect.ts";
import { type LogChunk, logSubject } from "../../shared/contracts/log.ts";

const CHUNK_CHARACTERS = 16_384;
const FLUSH_MS = 100;
/** Per attempt; what comes after is said to be missing. */
const LOG_MAX_BYTES = 16 * 1_048_576;

type Source = "stdout" | "stderr" | "check";

export interface LogSink extends AsyncDisposable {
  phase(phase: NonNullable<LogChunk["phase"]>, text: string): void;
  /** A sink for one process's output, kept whole (up to the bound) in `file`. */
  open(source: Source | "output", file: string): OutputSink;
}

export interface OutputSink {
  write(stream: "stdout" | "stderr", bytes: Buffer): void;
  /** Resolves when the file is complete. */
  end(): Promise<void>;
}

export function createLogSink(bus: Bus, taskId: string, attempt: number, hostId: string): LogSink {
  const subject = logSubject.build({ taskId, attempt: String(attempt), hostId });
  let published = 0;
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
    if (text === "" || published > LOG_MAX_BYTES) return;
    published += text.length;
    if (published > LOG_MAX_BYTES) {
      flush();
      publish({
        source: "phase",
        phase: "truncated",
        text: `more than ${LOG_MAX_BYTES} bytes: the rest is not shown`,
      });
      return;
    }
    if (pending !== null && pending.source !== source) flush();
    pending = { source, text: (pending?.text ?? "") + text };
    if (pending.text.length >= CHUNK_CHARACTERS) flush();
    else timer ??= setTimeout(flush, FLUSH_MS);
  };

  return {
    phase(phase, text) {
      flush();
      publish({ source: "phase", phase, text });
    },
    open: (source, file) =>
      openOutput(file, (stream, text) => say(source === "output" ? stream : source, text)),
    async [Symbol.asyncDispose]() {
      flush();
    },
  };
}

function openOutput(file: string, say: (stream: "stdout" | "stderr", text: string) => void): OutputSink {
  const decoders = { stdout: new StringDecoder("utf8"), stderr: new StringDecoder("utf8") };
  const whole: WriteStream = createWriteStream(file);
  let written = 0;
  let problem: Error | null = null;
  // A full disk costs the artifact, not the attempt.
  whole.on("error", (error) => {
    problem = error;
  });
  return {
    write(stream, bytes) {
      say(stream, decoders[stream].write(bytes));
      if (problem !== null || written > LOG_MAX_BYTES) return;
      written += bytes.length;
      whole.write(written > LOG_MAX_BYTES ? "\n[more output is not kept]\n" : bytes);
    },
    async end() {
      for (const stream of ["stdout", "stderr"] as const) say(stream, decoders[stream].end());
      if (problem === null) await new Promise<void>((done) => whole.end(() => done()));
    },
  };
}
