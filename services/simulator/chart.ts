// A comparison as one picture that needs nothing else: utilisation over time, and how long tasks waited. Pure.
import type { Point } from "./tally.ts";

export interface Charted {
  name: string;
  line: Point[];
  /** At 0, 1, … 100 per cent, ms. */
  delayQuantilesMs: number[];
}

const WIDTH = 960;
const PANEL = { left: 64, top: 56, width: 870, height: 220 };
const SECOND_TOP = 372;
/** The legend is below, so many names a row. */
const LEGEND = { top: 636, across: 217, row: 18, names: 4 };
/** Okabe and Ito's colours, which colour-blind people tell apart too. */
const COLOURS = ["#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
/** Less than this is no wait, ms. */
const LEAST_MS = 10;

export function svgChart(title: string, charted: Charted[]): string {
  const height = LEGEND.top + LEGEND.row * Math.ceil(charted.length / LEGEND.names);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="${PANEL.left}" y="22" font-size="15" font-weight="600">${escaped(title)}</text>`,
    ...utilisation(charted),
    ...waits(charted),
    ...legend(charted),
    "</svg>\n",
  ].join("\n");
}

function utilisation(charted: Charted[]): string[] {
  const untilMs = Math.max(1, ...charted.map(({ line }) => line.at(-1)?.atMs ?? 0));
  const x = (atMs: number) => PANEL.left + (PANEL.width * atMs) / untilMs;
  const y = (share: number) => PANEL.top + PANEL.height * (1 - Math.min(1, share));
  return [
    heading(PANEL.top, "Share of the machines' memory that tasks use, over time"),
    ...[0, 0.25, 0.5, 0.75, 1].map((share) => across(y(share), `${share * 100} %`)),
    ...[0, 0.25, 0.5, 0.75, 1].map((share) =>
      below(x(share * untilMs), PANEL.top, `${((share * untilMs) / 3_600_000).toFixed(1)} h`),
    ),
    ...lines(charted, ({ line }) => line.map(({ atMs, used }) => [x(atMs), y(used)])),
  ];
}

function waits(charted: Charted[]): string[] {
  const longestMs = Math.max(100_000, ...charted.map(({ delayQuantilesMs }) => delayQuantilesMs.at(-1) ?? 0));
  const scale = (ms: number) => Math.log(Math.max(LEAST_MS, ms) / LEAST_MS) / Math.log(longestMs / LEAST_MS);
  const x = (ms: number) => PANEL.left + PANEL.width * scale(ms);
  const y = (share: number) => SECOND_TOP + PANEL.height * (1 - share);
  const ticks = [10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
  return [
    heading(SECOND_TOP, "Share of the tasks that began within so long after their arrival"),
    ...[0, 0.25, 0.5, 0.75, 1].map((share) => across(y(share), `${share * 100} %`)),
    ...ticks
      .filter((ms) => ms <= longestMs)
      .map((ms) => below(x(ms), SECOND_TOP, ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`)),
    ...lines(charted, ({ delayQuantilesMs }) => [
      ...delayQuantilesMs.map((ms, hundredth): [number, number] => [x(ms), y(hundredth / 100)]),
      // After the longest wait all have begun.
      [PANEL.left + PANEL.width, y(1)],
    ]),
  ];
}

const legend = (charted: Charted[]): string[] =>
  charted.map(({ name }, index) => {
    const left = PANEL.left + (index % LEGEND.names) * LEGEND.across;
    const y = LEGEND.top + Math.floor(index / LEGEND.names) * LEGEND.row;
    return (
      `<line x1="${left}" x2="${left + 22}" y1="${y}" y2="${y}" ${stroke(index)}/>` +
      `<text x="${left + 28}" y="${y + 4}">${escaped(name)}</text>`
    );
  });

const heading = (top: number, text: string): string =>
  `<text x="${PANEL.left}" y="${top - 10}" fill="#444">${text}</text>`;

const across = (y: number, label: string): string =>
  `<line x1="${PANEL.left}" x2="${PANEL.left + PANEL.width}" y1="${fixed(y)}" y2="${fixed(y)}" stroke="#ddd"/>` +
  `<text x="${PANEL.left - 8}" y="${fixed(y + 4)}" text-anchor="end" fill="#444">${label}</text>`;

const below = (x: number, top: number, label: string): string =>
  `<text x="${fixed(x)}" y="${top + PANEL.height + 18}" text-anchor="middle" fill="#444">${label}</text>`;

/** The first, which the others are measured against, lies on top of them. */
const lines = (charted: Charted[], pointsOf: (one: Charted) => [number, number][]): string[] =>
  charted.map((one, index) => polyline(pointsOf(one), index)).toReversed();

const polyline = (points: [number, number][], index: number): string =>
  `<polyline fill="none" ${stroke(index)} points="${points.map(([x, y]) => `${fixed(x)},${fixed(y)}`).join(" ")}"/>`;

/** The first is dashed, and so is, in longer dashes, whoever has another's colour. */
function stroke(index: number): string {
  const dashes = index === 0 ? "4 3" : index < COLOURS.length ? "none" : "9 3";
  return `stroke="${COLOURS[index % COLOURS.length]}" stroke-width="${index === 0 ? 1 : 1.5}" stroke-dasharray="${dashes}"`;
}

const fixed = (value: number): string => value.toFixed(1);

export function htmlPage(title: string, svg: string, heads: string[], rows: string[][]): string {
  const cells = (row: string[], tag: "th" | "td") =>
    `<tr>${row.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escaped(title)}</title>
<style>
  body { font: 14px system-ui, sans-serif; max-width: 1000px; margin: 2em auto; color: #111; background: #fff }
  h1 { font-size: 20px }
  table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto }
  th, td { padding: 4px 8px; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
  th:first-child, td:first-child { text-align: left }
  svg { width: 100%; height: auto }
</style>
<h1>${escaped(title)}</h1>
<table>${cells(heads, "th")}${rows.map((row) => cells(row, "td")).join("")}</table>
${svg}</html>
`;
}

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => ENTITIES[character] ?? "");
