// A log in a file of its own, for where nobody keeps what a service prints: a full piece is put aside, and a few of them
// are kept. A disk that is full costs lines, never the service.
import { closeSync, fstatSync, openSync, renameSync, writeSync } from "node:fs";
import path from "node:path";
import type { DestinationStream } from "pino";
import { makeFolder } from "../process/make-folder.ts";

const PIECE_BYTES = 10_000_000;
/** `FILE.1` is the latest of those put aside. */
const KEPT = 4;

/** Throws the system's error if the file cannot be written now. */
export function openLogFile(file: string, pieceBytes = PIECE_BYTES): DestinationStream {
  makeFolder(path.dirname(path.resolve(file)), 0o700);
  const open = () => openSync(file, "a", 0o600);
  let piece = open();
  let bytes = fstatSync(piece).size;

  function putAside(): void {
    const moved = (from: string, number: number) => orSkip(() => renameSync(from, `${file}.${number}`));
    // The older ones make room for a full one that can be moved, and for no other.
    if (moved(file, 0)) for (let number = KEPT; number > 0; number--) moved(`${file}.${number - 1}`, number);
    // If it cannot be opened, the one that is open takes the next lines.
    const fresh = open();
    closeSync(piece);
    piece = fresh;
    bytes = fstatSync(piece).size;
  }

  return {
    write(line) {
      orSkip(() => {
        if (bytes >= pieceBytes) orSkip(putAside);
        bytes += writeSync(piece, line);
      });
    },
  };
}

/** False: somebody holds a piece open, which Windows does not rename then; or the disk is full. */
function orSkip(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return false;
  }
}
