// What `mesh simulate` is asked to do, from its flags: which tasks, on which machines, by which policies. It refuses what
// cannot be, with the flag that is wrong.
import { createReadStream } from "node:fs";
import { parseDuration } from "../../../shared/config/quantities.ts";
import { PlacementPolicy, PlacementWeights } from "../../../shared/config/settings.ts";
import { explainIssues } from "../../../shared/contracts/unknown-field.ts";
import type { Contender } from "../../simulator/compare.ts";
import type { Machine } from "../../simulator/machines.ts";
import { readTrace, TRACE_LIMITS } from "../../simulator/trace.ts";
import { drawWorkload, type Workload } from "../../simulator/workload.ts";
import { UsageError } from "../outcome.ts";
import { wholeOf } from "../tasks/deploy-request.ts";
import { jsonOf, type MachineFlags, machineSource, machinesIn, orSay } from "./machines.ts";

export interface Flags extends MachineFlags {
  policy: string;
  weights?: string;
  learn: string;
  heartbeat: string;
  tasks?: string;
  load?: string;
  burst?: string;
  unnamed?: string;
  trace?: string;
  history?: boolean;
  url?: string;
  seed: string;
  runs: string;
  svg?: string;
  html?: string;
  json?: boolean;
  quiet?: boolean;
}

export interface Plan {
  /** Each has a row of its own; the omniscient is the first. */
  contenders: (Contender & { name: string })[];
  weights: PlacementWeights;
  heartbeatMs: number;
  /** One for each seed. */
  runs: { seed: number; machines: Machine[]; workload: Workload }[];
  /** What is simulated, in words. */
  title: string;
}

const MOST_RUNS = 100;

export async function planOf(flags: Flags, tell: (text: string) => void): Promise<Plan> {
  const sources = [flags.trace, flags.history].filter((source) => source !== undefined);
  if (sources.length > 1) throw new UsageError("--trace and --history: expected one of them");
  for (const flag of ["tasks", "load", "burst", "unnamed"] as const)
    if (sources.length > 0 && flags[flag] !== undefined)
      throw new UsageError(`--${flag} is for made-up tasks; --trace and --history bring their own`);
  if (flags.url !== undefined && !flags.history) throw new UsageError("--url goes with --history");
  const heartbeatMs = heartbeatOf(flags.heartbeat);
  const contenders = contendersOf(policiesOf(flags.policy), learnOf(flags.learn));
  const weights = weightsOf(flags.weights);
  const seed = wholeOf("--seed", flags.seed, 0, 2 ** 31);
  const seeds = Array.from(
    { length: wholeOf("--runs", flags.runs, 1, MOST_RUNS) },
    (_, index) => seed + index,
  );
  if (flags.hosts !== undefined && flags.hostsFile !== undefined)
    throw new UsageError("--hosts and --hosts-file: expected one of them");
  const machinesFor = await machineSource(flags);
  const given = await tasksGiven(flags, tell);
  const drawn = given === null ? drawnOf(flags) : null;
  const runs = seeds.map((one) => {
    const machines = given?.machines ?? machinesFor(one);
    return {
      seed: one,
      machines,
      workload: given?.workload ?? drawWorkload({ ...drawn, seed: one } as never, machines),
    };
  });
  return { contenders, weights, heartbeatMs, runs, title: titleOf(flags, runs, heartbeatMs) };
}

function titleOf(flags: Flags, runs: Plan["runs"], heartbeatMs: number): string {
  const [first] = runs;
  const tasks = first?.workload.arrivalMs.length ?? 0;
  const source =
    flags.trace !== undefined
      ? `tasks of ${flags.trace}`
      : flags.history
        ? "tasks of this mesh's history"
        : madeUpInWords(flags);
  const times = runs.length === 1 ? "" : `, ${runs.length} runs`;
  return `${tasks} ${source} on ${first?.machines.length ?? 0} machines, heartbeats of ${heartbeatMs / 1_000} s${times}`;
}

function madeUpInWords({ load = DEFAULTS.load, burst, unnamed }: Flags): string {
  const bursts = burst === undefined ? "" : ` in bursts of ${burst}`;
  const names = unnamed === undefined ? "" : ` (a share of ${unnamed} names no memory)`;
  return `tasks at load ${load}${bursts}${names}`;
}

function heartbeatOf(text: string): number {
  const ms = parseDuration(text) ?? Number.NaN;
  if (!(ms >= 100 && ms <= 60_000))
    throw new UsageError(`--heartbeat: expected a duration from 100ms to 60s, not "${text}"`);
  return ms;
}

function policiesOf(text: string): PlacementPolicy[] {
  if (text === "all") return [...PlacementPolicy.options];
  return [...new Set(text.split(","))].map((name) => {
    const policy = PlacementPolicy.safeParse(name.trim());
    if (!policy.success)
      throw new UsageError(
        `--policy: expected all, or some of ${PlacementPolicy.options.join(", ")}; not "${name}"`,
      );
    return policy.data;
  });
}

/** The values of `placement.learn` to be tried. */
function learnOf(text: string): boolean[] {
  if (text === "both") return [true, false];
  if (text !== "true" && text !== "false")
    throw new UsageError(`--learn: expected true, false or both, not "${text}"`);
  return [text === "true"];
}

function contendersOf(policies: PlacementPolicy[], learns: boolean[]): Plan["contenders"] {
  const tried = policies.flatMap((decider) =>
    learns.map((learn) => ({ name: learn ? decider : `${decider}, learn false`, decider, learn })),
  );
  return [{ name: "omniscient", decider: "omniscient", learn: false }, ...tried];
}

function weightsOf(text: string | undefined): PlacementWeights {
  const weights = PlacementWeights.safeParse(text === undefined ? {} : jsonOf("--weights", text));
  if (!weights.success) throw new UsageError(`--weights: ${explainIssues(weights.error, PlacementWeights)}`);
  return weights.data;
}

const DEFAULTS = { tasks: "10000", load: "0.8", burst: "1" };

function drawnOf({ tasks = DEFAULTS.tasks, load = DEFAULTS.load, burst = DEFAULTS.burst, unnamed }: Flags) {
  return {
    tasks: wholeOf("--tasks", tasks, 1, TRACE_LIMITS.tasks),
    load: shareOf("--load", load, 0.01, 2),
    burst: wholeOf("--burst", burst, 1, 100_000),
    unnamed: unnamed === undefined ? null : shareOf("--unnamed", unnamed, 0, 1),
  };
}

function shareOf(flag: string, text: string, least: number, most: number): number {
  const share = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(share >= least && share <= most))
    throw new UsageError(`${flag}: expected a share from ${least} to ${most}, not "${text}"`);
  return share;
}

async function tasksGiven(
  flags: Flags,
  tell: (text: string) => void,
): Promise<{ workload: Workload; machines?: Machine[] } | null> {
  if (flags.history) {
    const { readHistory } = await import("./history.ts");
    const { workload, hosts } = await readHistory(flags.url);
    if (workload.arrivalMs.length === 0)
      throw new UsageError("--history: no task has ended on this mesh yet");
    const isOwn = flags.hostsFile === undefined && flags.hosts === undefined;
    return isOwn ? { workload, machines: machinesIn(hosts) } : { workload };
  }
  if (flags.trace === undefined) return null;
  const trace = await orSay("--trace", () => readTrace(linesOf(flags.trace as string)));
  if (!trace.ok) throw new UsageError(`${flags.trace}: ${trace.error.message}`);
  if (trace.value.skipped > 0) tell(`${trace.value.skipped} jobs of the trace never ran: passed over`);
  return trace.value;
}

/** A line that has no end is given in pieces. */
async function* linesOf(file: string): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of createReadStream(file, { encoding: "utf8" }) as AsyncIterable<string>) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
    if (rest.length > TRACE_LIMITS.lineLength) {
      yield rest;
      rest = "";
    }
  }
  if (rest !== "") yield rest;
}
