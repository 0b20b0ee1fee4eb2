// A command of the host's own beside an attempt's: what it prints, whole, as far as it may be; it is told its stdin at once.
// It must never go on once nobody waits for it.
import type { ExecSpec, ExitRecord, GuestProcess } from "../supervisor/supervisor-link.ts";

export interface OwnCommand extends Pick<ExecSpec, "argv" | "env"> {
  /** It has the host's own git folder. */
  usesGit?: true;
}

export interface CallOptions {
  maxBytes: number;
  stdin?: Buffer;
  /** Ends it at once. */
  signal?: AbortSignal;
}

export interface Called {
  exit: ExitRecord;
  /** Null where that is more than it may be. */
  output: Buffer | null;
  /** The end of it. */
  complaint: string;
}

const END_AGAIN_MS = 100;

export async function hearWhole(
  start: (hear: (chunk: Buffer) => void) => Promise<{ process: GuestProcess; complaint(): string }>,
  { maxBytes, stdin, signal }: CallOptions,
): Promise<Called> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  let ending: NodeJS.Timeout | undefined;
  const { process, complaint } = await start((chunk) => {
    bytes += chunk.length;
    if (bytes <= maxBytes) pieces.push(chunk);
    else end();
  });
  // What is only just beginning does not hear the first.
  const end = () => {
    process.signal("SIGKILL");
    ending ??= setInterval(() => process.signal("SIGKILL"), END_AGAIN_MS);
  };
  if (signal?.aborted) end();
  signal?.addEventListener("abort", end);
  if (stdin !== undefined) {
    process.write(stdin);
    process.endStdin();
  }
  const exit = await process.finished;
  clearInterval(ending);
  signal?.removeEventListener("abort", end);
  return { exit, output: bytes > maxBytes ? null : Buffer.concat(pieces), complaint: complaint() };
}
