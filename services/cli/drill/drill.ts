// `mesh drill FAULT`: kills something of a running mesh, measures the time until it works again, and asserts from what
// its own tasks write down that nothing ran twice.
import { Argument, Command } from "commander";
import { findBus } from "../find-bus.ts";
import { allowForStop, interruption } from "../interruption.ts";
import { Failure, UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags } from "../session.ts";
import { orSay } from "../up/up.ts";
import type { DrillReport } from "./faults.ts";
import type { SceneOptions } from "./scene.ts";
import type { SessionReport } from "./session-drill.ts";

interface Options extends CommonOptions {
  command?: string;
  host?: string;
  repo?: string;
  prBranch?: string;
  sha?: string;
}

type Drill = DrillReport["drill"] | SessionReport["drill"];

const DRILLS: Drill[] = ["kill-host", "kill-scheduler", "kill-tracker", "kill-bus", "session"];
const STOP_MS = 40_000;

export const drillCommand = (): Command =>
  withCommonFlags(
    new Command("drill")
      .description(
        "kill a part of a running mesh, measure how soon it works again, and that nothing ran twice",
      )
      .addArgument(new Argument("<drill>", "what to kill").choices(DRILLS))
      .option("--command <command>", "for sh -c: kills it your way, such as \"ssh attic 'pkill -9 …'\"")
      .option("--host <id>", "kill-host: the host that --command kills")
      .option("--repo <url>", "a repository that your hosts can clone, for tasks that run on them")
      .option("--pr-branch <branch>", "its branch")
      .option("--sha <sha>", "a commit of that branch"),
  )
    .addHelpText(
      "after",
      [
        "",
        "Without --command, a host, scheduler or status tracker of the drill's own joins the mesh, is put in charge, and",
        "is killed with SIGKILL; your own work goes on. kill-bus kills the nats-server of the `mesh up` on this machine.",
        "session kills the host of an agent while its model is asked for the third answer, and has another one go on: its",
        "two hosts need Claude Code (MESH_CLAUDE_BIN or PATH) and a key (ANTHROPIC_API_KEY); the provider is the one that",
        "ANTHROPIC_BASE_URL names. What the model is shown again, and the patch, tell whether session and work went along.",
        "Give it the MESH_CONFIG of the mesh: its status tracker decides for all while it leads.",
        "Exit 0: it works again and nothing ran twice, or all went along; 1: not so, or not within the deadline.",
      ].join("\n"),
    )
    .action((fault: Drill, options: Options) => orSay(() => drill(fault, options)));

async function drill(fault: Drill, options: Options): Promise<void> {
  allowForStop(STOP_MS);
  const { command, host, repo, prBranch, sha } = options;
  const source = sourceOf(repo, prBranch, sha);
  if (host !== undefined && (command === undefined || fault !== "kill-host"))
    throw new UsageError("--host is for kill-host with --command");
  if (source !== null && host === undefined)
    throw new UsageError("--repo is for kill-host with --command: other drills run on hosts of their own");
  if (fault === "session" && command !== undefined)
    throw new UsageError("--command is for drills that kill: session kills a host of its own");
  const { url, dataDir } = valueOf(await findBus(options.url));
  const told = { onProgress: (text: string) => tell(options, text), signal: interruption };
  if (fault === "session") return drillSession({ url, command, source, ...told }, options);
  const { runDrill } = await import("./faults.ts");
  const { jsonLine } = await import("../terminal/plain-text.ts");
  const report = await runDrill({
    fault,
    url,
    dataDir,
    command,
    hostId: host,
    source,
    ...told,
  });
  process.stdout.write(options.json ? jsonLine(report) : await reportText(report));
  if (!report.ok) throw new Failure("");
}

async function drillSession(scene: SceneOptions, { json }: Options): Promise<void> {
  const { runSessionDrill } = await import("./session-drill.ts");
  const { jsonLine } = await import("../terminal/plain-text.ts");
  const report = await runSessionDrill(scene);
  process.stdout.write(json ? jsonLine(report) : await sessionText(report));
  if (!report.ok) throw new Failure("");
}

async function sessionText(report: SessionReport): Promise<string> {
  const { properties } = await import("../terminal/table.ts");
  const { resumedFrom, begunAfresh, shownAgain, workKept } = report;
  const { attempt, hostId, turns } = resumedFrom ?? {};
  return properties([
    ["drill", report.drill],
    ["killed", report.killed],
    ...report.turns.map((one): [string, string] => [
      `attempt ${one.attempt}`,
      `on ${one.hostId}: the model was asked for answers ${one.turns.join(", ")}`,
    ]),
    [
      "went on",
      resumedFrom === null
        ? `no: ${begunAfresh ?? "nothing had been kept"}`
        : `from after turn ${turns} of attempt ${attempt}, on ${hostId}`,
    ],
    ["in its context", `${shownAgain.shown} of the ${shownAgain.of} tool uses of the turns before`],
    ["in its patch", `${workKept.kept} of the ${workKept.of} files that they had changed`],
    ["the task", report.state],
    ["verdict", report.ok ? "good" : "bad"],
  ]);
}

function sourceOf(cloneUrl?: string, branch?: string, sha?: string) {
  if (cloneUrl === undefined && branch === undefined && sha === undefined) return null;
  if (cloneUrl === undefined || branch === undefined || sha === undefined)
    throw new UsageError("--repo, --pr-branch and --sha go together");
  return { cloneUrl, branch, sha };
}

async function reportText(report: DrillReport): Promise<string> {
  const { properties } = await import("../terminal/table.ts");
  const { formatDuration } = await import("../terminal/quantities.ts");
  const { recoveredMs, aimMs, ranTwice, begunAnew } = report;
  const aim =
    aimMs === null || recoveredMs === null
      ? ""
      : ` (aim: ${formatDuration(aimMs)}, ${recoveredMs <= aimMs ? "kept" : "missed"})`;
  return properties([
    ["drill", report.drill],
    ["killed", report.killed],
    ["measured", report.measured],
    ["works again", recoveredMs === null ? "no" : `after ${formatDuration(recoveredMs)}${aim}`],
    ["ran twice", ranTwice.length === 0 ? "nothing" : ranTwice.join("; ")],
    ["begun anew", begunAnew.length === 0 ? "nothing" : begunAnew.join("; ")],
    [
      "seen",
      `${report.tasks} tasks, ${report.attempts} attempts, ${report.witnessLines} lines that they wrote`,
    ],
    ["verdict", report.ok ? "good" : "bad"],
  ]);
}
