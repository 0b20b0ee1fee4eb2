// A log in a file of its own, for where nobody keeps what a service prints: a full piece is put aside, and a few of them
// are kept. A disk that is full costs lines, never the service.
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import path from "node:path";
import type { DestinationStream } from "pino";

const PIECE_BYTES = 10_000_000;
/** `FILE.1` is the latest of those put aside. */
const KEPT = 4;

/** Throws the system's error if the file cannot be written now. */
export function openLogFile(file: string, pieceBytes = PIECE_BYTES): DestinationStream {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const open = () => openSync(file, "a", 0o600);
  let piece = open();
  let bytes = fstatSync(piece).size;

  function putAside(): void {
    closeSync(piece);
    for (let number = KEPT; number > 0; number--)
      orSkip(() => renameSync(number === 1 ? file : `${file}.${number - 1}`, `${file}.${number}`));
    piece = open();
    bytes = fstatSync(piece).size;
  }

  return {
    write(line) {
      orSkip(() => {
        if (bytes >= pieceBytes) putAside();
        bytes += writeSync(piece, line);
      });
    },
  };
}

/** Somebody may hold a piece open, which Windows does not rename then; or the disk is full. */
function orSkip(work: () => void): void {
  try {
    work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
  }
}
