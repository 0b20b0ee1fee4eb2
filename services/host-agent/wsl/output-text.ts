// What wsl.exe has printed, as text. With WSL_UTF8=1 it prints UTF-8, builds that do not know it print UTF-16, and what
// a Linux process printed before stands in the same stream as it was.

const NEW_LINE = 0x0a;
const LINE_END = Buffer.from("\r\n", "utf16le");
/** So few may be UTF-8 by chance. */
const FEW_BYTES = 8;

/** Text of the bytes, whichever encodings they are in; it never throws. */
export function textOf(bytes: Buffer): string {
  const start = utf16Start(bytes);
  return bytes.subarray(0, start).toString("utf8") + utf16Text(bytes.subarray(start));
}

/** Half a unit at the end is none: decoding one beside whole ones makes Node 24 write beyond what it has allocated. */
export const utf16Text = (bytes: Buffer): string =>
  bytes.subarray(0, bytes.length - (bytes.length % 2)).toString("utf16le");

/** Lines without their ends, empty ones left out. Some builds double the carriage return. */
export const linesOf = (text: string): string[] =>
  text
    .split(/\r*\n/)
    .map((line) => line.trimEnd())
    .filter((line) => line !== "");

/**
 * Where UTF-16 begins; the length if nowhere. Text in Latin letters has a NUL in every second place, Chinese text at
 * its line ends alone, so the whole is searched. A line end says which places are whole units.
 */
function utf16Start(bytes: Buffer): number {
  const firstNul = bytes.indexOf(0);
  if (firstNul === -1) return isUtf8(bytes) || bytes.length % 2 === 1 ? bytes.length : 0;
  const lineEnd = bytes.lastIndexOf(LINE_END);
  const isUnit = (at: number) => at % 2 === (lineEnd === -1 ? firstNul + 1 : lineEnd) % 2;
  // A line of a Linux process ends before it. Half a unit may be that byte too, but has no unit after it.
  for (let at = firstNul; at > 0; at--)
    if (bytes[at - 1] === NEW_LINE && isUnit(at) && isUtf8(bytes.subarray(0, at))) return at;
  const first = isUnit(firstNul) ? firstNul : firstNul - 1;
  const isWhole = isUnit(0) && (first < FEW_BYTES || !isUtf8(bytes.subarray(0, first)));
  return isWhole ? 0 : first;
}

const strict = new TextDecoder("utf-8", { fatal: true });

function isUtf8(bytes: Buffer): boolean {
  try {
    strict.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
