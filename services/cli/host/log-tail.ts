// The end of a log file, and what is written to it from then on, through every change of its piece.
import { type FileHandle, open, stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** No more of the file than this is read for its last lines, bytes. */
const TAIL_BYTES = 1_000_000;
const LOOK_MS = 300;

/** Resolves with nothing more to say, or at once when the signal is given. Rejects with the system's error. */
export async function tailLog(
  file: string,
  { lines, follow, signal }: { lines: number; follow: boolean; signal: AbortSignal },
  write: (text: string) => void,
): Promise<void> {
  let piece = await open(file);
  try {
    const { size } = await piece.stat();
    const text = await textFrom(piece, Math.max(0, size - TAIL_BYTES), size);
    write(lastLines(text, lines));
    let at = size;
    while (follow && !signal.aborted) {
      const { size: now } = await piece.stat();
      if (now > at) {
        write(await textFrom(piece, at, now));
        at = now;
      } else if (await isAnother(file, piece)) {
        // Its last lines may have come in between.
        if ((await piece.stat()).size > at) continue;
        await piece.close();
        piece = await open(file);
        at = 0;
      } else await delay(LOOK_MS, undefined, { signal }).catch(() => {});
    }
  } finally {
    await piece.close();
  }
}

async function textFrom(piece: FileHandle, from: number, to: number): Promise<string> {
  const { buffer, bytesRead } = await piece.read(Buffer.alloc(to - from), 0, to - from, from);
  return buffer.toString("utf8", 0, bytesRead);
}

/** A full piece was put aside. */
async function isAnother(file: string, piece: FileHandle): Promise<boolean> {
  const named = await stat(file).catch(() => null);
  return named !== null && named.ino !== (await piece.stat()).ino;
}

function lastLines(text: string, count: number): string {
  const lines = text.split("\n");
  // What ends with a new line has an empty piece after it.
  return lines.slice(Math.max(0, lines.length - 1 - count)).join("\n");
}
