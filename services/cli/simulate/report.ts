// What `mesh simulate` found, as a table, as JSON, and as a chart.
import { writeFile } from "node:fs/promises";
import { htmlPage, svgChart } from "../../simulator/chart.ts";
import type { Outcome } from "../../simulator/measures.ts";
import { delayQuantiles, type Row, rowOf } from "../../simulator/verdict.ts";
import { Failure, messageOf } from "../outcome.ts";
import { plainLine } from "../terminal/plain-text.ts";
import { formatDuration } from "../terminal/quantities.ts";
import { table } from "../terminal/table.ts";
import type { Flags, Plan } from "./plan.ts";

export interface Report {
  title: string;
  heartbeatMs: number;
  seeds: number[];
  rows: Row[];
}

export function reportOf({ title, heartbeatMs, runs }: Plan, outcomes: [string, Outcome[]][]): Report {
  const omniscient = outcomes[0]?.[1] ?? [];
  return {
    title,
    heartbeatMs,
    seeds: runs.map(({ seed }) => seed),
    rows: outcomes.map(([name, runsOfIt]) => rowOf(name, runsOfIt, omniscient)),
  };
}

const HEADS = [
  "POLICY",
  "SLOWDOWN",
  "× OMNISCIENT",
  "DELAY P50",
  "P95",
  "P99",
  "OOM/1000",
  "REFUSED",
  "IMBALANCE",
  "JAIN",
];

const cellsOf = (row: Row): string[] => [
  row.decider,
  row.slowdown.toFixed(3),
  row.timesOmniscient.toFixed(3),
  formatDuration(row.delayMs.p50),
  formatDuration(row.delayMs.p95),
  formatDuration(row.delayMs.p99),
  row.killedPerThousand.toFixed(2),
  `${(100 * row.refused).toFixed(2)} %`,
  row.imbalance.toFixed(3),
  row.jain.toFixed(4),
];

export function tableText({ title, rows }: Report): string {
  const left = rows
    .filter(({ unplaced }) => unplaced > 0)
    .map(({ decider, unplaced, tasks }) => `${decider}: ${unplaced} of ${tasks} tasks fit on no machine\n`);
  return `${plainLine(title)}\n${table(HEADS, rows.map(cellsOf))}${left.join("")}`;
}

/** Of the first run of each; the delays are of all runs. */
export async function writeChart(
  { svg, html }: Flags,
  { title, rows }: Report,
  outcomes: [string, Outcome[]][],
): Promise<void> {
  if (svg === undefined && html === undefined) return;
  const charted = outcomes.map(([name, runs]) => ({
    name,
    line: runs[0]?.line ?? [],
    delayQuantilesMs: delayQuantiles(runs),
  }));
  const chart = svgChart(title, charted);
  try {
    if (svg !== undefined) await writeFile(svg, chart);
    if (html !== undefined) await writeFile(html, htmlPage(title, chart, HEADS, rows.map(cellsOf)));
  } catch (error) {
    throw new Failure(`the chart could not be written: ${messageOf(error)}`);
  }
}
