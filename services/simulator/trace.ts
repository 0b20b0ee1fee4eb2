// Tasks from a file that others wrote: CSV with the columns arrival, duration, memory, or the Standard Workload Format.
// What it cannot read it refuses with the line and what was expected there. Pure.

import { REQUEST_DEFAULTS } from "../../shared/contracts/deploy-request.ts";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import { kindOf, type TaskRow, type Workload, workloadOf } from "./workload.ts";

export const TRACE_LIMITS = {
  tasks: 1_000_000,
  lineLength: 10_000,
  spanSeconds: 366 * 86_400,
} as const;

export interface Trace {
  workload: Workload;
  /** Jobs that never ran. */
  skipped: number;
}

/** Tasks that ask for the same are gone through as one, so there are not more different ones than this. */
const DIFFERENT_ASKS = 500;
/** Where there are, what is asked for is rounded up to one of so many steps between a power of two and the next. */
const STEPS = 16;

type Parse = (line: string) => TaskRow | "skipped" | { problem: string };

export async function readTrace(lines: Iterable<string> | AsyncIterable<string>): Promise<Answer<Trace>> {
  const rows: TaskRow[] = [];
  const users = new Map<string, number>();
  let parse: Parse | null = null;
  let number = 0;
  let skipped = 0;
  const bad = (problem: string) => refuse("bad_request", `line ${number}: ${problem}`);
  for await (const raw of lines) {
    number++;
    if (raw.length > TRACE_LIMITS.lineLength)
      return bad(`expected at most ${TRACE_LIMITS.lineLength} characters`);
    const line = (number === 1 ? raw.replace(/^\uFEFF/, "") : raw).trim();
    if (line === "" || line.startsWith(";")) continue;
    if (parse === null) {
      if (isStandardFormat(line)) parse = standardFormat(users);
      else {
        const header = csvFormat(line);
        if (typeof header === "string") return bad(header);
        parse = header;
        continue;
      }
    }
    const row = parse(line);
    if (row === "skipped") skipped++;
    else if ("problem" in row) return bad(row.problem);
    else if (rows.push(row) > TRACE_LIMITS.tasks)
      return refuse("bad_request", `more than ${TRACE_LIMITS.tasks} tasks: cut the trace into pieces`);
  }
  if (rows.length === 0) return refuse("bad_request", "no tasks in it");
  askInSteps(rows);
  const repositories = users.size === 0 ? ["trace/tasks"] : [...users.keys()];
  const workload = workloadOf(
    rows,
    repositories.map((repository) => kindOf(repository)),
  );
  if ((workload.arrivalMs.at(-1) ?? 0) > TRACE_LIMITS.spanSeconds * 1_000)
    return refuse("bad_request", "the arrivals are more than a year apart: expected seconds");
  return answer({ workload, skipped });
}

function askInSteps(rows: TaskRow[]): void {
  const asks = new Set<number>();
  for (const { askedBytes } of rows) if (asks.add(askedBytes).size > DIFFERENT_ASKS) break;
  if (asks.size <= DIFFERENT_ASKS) return;
  for (const row of rows) {
    const step = 2 ** Math.floor(Math.log2(row.askedBytes)) / STEPS;
    row.askedBytes = Math.ceil(row.askedBytes / step) * step;
  }
}

const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;

/** NaN for what is no finite number. */
function numberIn(text: string | undefined): number {
  const value = text !== undefined && NUMBER.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : Number.NaN;
}

const COLUMNS = ["arrival", "duration", "memory"] as const;

function csvFormat(header: string): Parse | string {
  const names = cells(header)?.map((name) => name.toLowerCase()) ?? [];
  const [arrival, duration, memory] = COLUMNS.map((column) => names.indexOf(column)) as [
    number,
    number,
    number,
  ];
  if (Math.min(arrival, duration, memory) < 0)
    return `expected the header arrival,duration,memory, or 18 numbers of the Standard Workload Format; it is ${shown(header)}`;
  return (line) => {
    const values = cells(line);
    if (values === null) return { problem: `a quotation mark is not closed: ${shown(line)}` };
    if (values.length !== names.length)
      return { problem: `expected ${names.length} fields, as the header has; it has ${values.length}` };
    const arrivalSeconds = numberIn(values[arrival]);
    if (!(arrivalSeconds >= 0))
      return { problem: `arrival: expected seconds, 0 or more; it is ${shown(values[arrival])}` };
    const seconds = numberIn(values[duration]);
    if (!(seconds > 0 && seconds <= TRACE_LIMITS.spanSeconds))
      return {
        problem: `duration: expected seconds, more than 0, a year at most; it is ${shown(values[duration])}`,
      };
    const bytes = numberIn(values[memory]);
    if (!(bytes >= 1 && bytes <= Number.MAX_SAFE_INTEGER))
      return { problem: `memory: expected bytes, 1 or more; it is ${shown(values[memory])}` };
    return taskOf(arrivalSeconds, seconds, bytes, bytes, 0);
  };
}

/** Null if a quotation mark is not closed. */
function cells(line: string): string[] | null {
  if (!line.includes('"')) return line.split(",").map((cell) => cell.trim());
  const found: string[] = [];
  let rest = `${line},`;
  while (rest !== "") {
    const match = /^\s*(?:"((?:[^"]|"")*)"\s*|([^",]*)),/.exec(rest);
    if (match === null) return null;
    found.push((match[1]?.replaceAll('""', '"') ?? match[2] ?? "").trim());
    rest = rest.slice(match[0].length);
  }
  return found;
}

const FIELDS = 18;
const isStandardFormat = (line: string): boolean => {
  const fields = line.split(/\s+/);
  return fields.length > 3 && fields.every((field) => NUMBER.test(field));
};

/** feitelson.dev/swf: fields of a job counted from 1; -1 for what is not known; memory in KiB of each processor. */
function standardFormat(users: Map<string, number>): Parse {
  return (line) => {
    const fields = line.split(/\s+/);
    if (fields.length !== FIELDS)
      return {
        problem: `expected the ${FIELDS} fields of the Standard Workload Format; it has ${fields.length}`,
      };
    const field = (number: number) => numberIn(fields[number - 1]);
    const [arrival, duration, used, asked] = [field(2), field(4), field(7), field(10)];
    if (!(arrival >= 0))
      return { problem: `field 2, submit time: expected seconds; it is ${shown(fields[1])}` };
    if (Number.isNaN(duration))
      return { problem: `field 4, run time: expected seconds or -1; it is ${shown(fields[3])}` };
    if (Number.isNaN(used) || Number.isNaN(asked))
      return {
        problem: `fields 7 and 10, memory: expected KiB or -1; they are ${shown(`${fields[6]} ${fields[9]}`)}`,
      };
    if (duration <= 0) return "skipped";
    if (duration > TRACE_LIMITS.spanSeconds) return { problem: "field 4, run time: expected a year at most" };
    const askedBytes = bytesOf(asked) ?? bytesOf(used) ?? REQUEST_DEFAULTS.memoryBytes;
    const user = `user/${fields[11]}`;
    const kind = users.get(user) ?? users.size;
    users.set(user, kind);
    return taskOf(arrival, duration, askedBytes, bytesOf(used) ?? askedBytes, kind);
  };
}

const bytesOf = (kibibytes: number): number | null => (kibibytes > 0 ? kibibytes * 1_024 : null);

const taskOf = (
  arrivalSeconds: number,
  seconds: number,
  askedBytes: number,
  usedBytes: number,
  kind: number,
): TaskRow => ({
  arrivalMs: arrivalSeconds * 1_000,
  workMs: seconds * 1_000,
  askedBytes,
  usedBytes,
  askedCpus: REQUEST_DEFAULTS.cpus,
  usedCpus: REQUEST_DEFAULTS.cpus,
  kind,
});

const shown = (text: string | undefined): string =>
  JSON.stringify(text === undefined ? "" : text.length > 60 ? `${text.slice(0, 60)}…` : text);
