// Aligned tables and coloured words for people. What is put in must be plain text already; colours follow the
// terminal and NO_COLOR.
import { stripVTControlCharacters, styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** A word for standard output, or for standard error with `onStderr`. */
export const styled = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stdout });
export const onStderr = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stderr });

const STATE_STYLES: Record<string, Style> = {
  succeeded: "green",
  failed: "red",
  cancelled: "yellow",
  cancelling: "yellow",
  running: "cyan",
  faulted: "yellow",
  waiting: "dim",
  queued: "dim",
};

export const styledState = (state: string, on: typeof styled = styled): string =>
  on(STATE_STYLES[state] ?? "reset", state);

const WIDE =
  /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\p{Emoji_Presentation}/u;
const graphemes = new Intl.Segmenter();

/** Columns in a terminal. */
export function widthOf(text: string): number {
  let width = 0;
  for (const { segment } of graphemes.segment(stripVTControlCharacters(text)))
    width += WIDE.test(segment) ? 2 : 1;
  return width;
}

/** At most `columns` wide, with an ellipsis where it was cut. Of plain text only. */
export function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let short = "";
  let width = 1;
  for (const { segment } of graphemes.segment(text)) {
    width += WIDE.test(segment) ? 2 : 1;
    if (width > columns) break;
    short += segment;
  }
  return `${short}…`;
}

/** Columns two spaces apart; the last one is not filled up. */
export function table(heads: string[], rows: string[][]): string {
  const lines = [heads.map((head) => styled("dim", head)), ...rows];
  const widths = heads.map((_, column) => Math.max(...lines.map((line) => widthOf(line[column] ?? ""))));
  return lines
    .map((line) =>
      line
        .map((cell, column) =>
          column === line.length - 1 ? cell : cell + " ".repeat((widths[column] ?? 0) - widthOf(cell)),
        )
        .join("  "),
    )
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

/** `name  value` lines, the names aligned. */
export function properties(pairs: [string, string | null][]): string {
  const shown = pairs.filter((pair): pair is [string, string] => pair[1] !== null);
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `  ${styled("dim", name.padEnd(width))}  ${value}\n`).join("");
}
