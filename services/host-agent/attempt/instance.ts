// An isolated slot for one tree of an attempt: runs processes in it through the guest supervisor, with the
// environment they need and nothing else, within the time that is left.
import { createWriteStream } from "node:fs";
import { truncate } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { finished } from "node:stream/promises";
import { PATCH_MAX_BYTES } from "../../../shared/contracts/artifact.ts";
import { REQUEST_DEFAULTS } from "../../../shared/contracts/deploy-request.ts";
import { ATTEMPT_FLOOR_BYTES } from "../../../shared/contracts/disk-floor.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import { DEPENDENCIES_PATH, GIT_PATH, HOME_PATH, WORK_PATH } from "../guest/inside.ts";
import type { Work } from "../held/executor.ts";
import type { InstanceNetwork } from "../network/instance-network.ts";
import type { Redactor } from "../redaction.ts";
import type { ExecSpec, ExitRecord, GuestProcess } from "../supervisor/supervisor-link.ts";
import { bundleCommand, HUGE_FILE, LEFT_OUT, passingPatchCommand, patchCommand } from "../workspace/patch.ts";
import type { PreparedTree } from "../workspace/tree.ts";
import { dependencyEnvironment, machineEnvironment, pathOf } from "./instance-environment.ts";
import { infrastructureFailure } from "./judgement.ts";
import type { OutputSink } from "./log-sink.ts";
import { type Called, type CallOptions, hearWhole, type OwnCommand } from "./own-command.ts";

export interface Instance {
  /** As its processes see it. */
  readonly workTree: string;
  readonly home: string;
  /** These paths are the same in every instance of every host. */
  readonly isAlikeEverywhere: boolean;
  /** Takes the patch while work goes on. */
  readonly passingPatch: OwnCommand;
  /** Its time is what is left of the attempt's. */
  start(command: InstanceCommand, onOutput: OnOutput): GuestProcess;
  /** Connections at this door, of commands that have it, for as long as the attempt lasts. */
  answerAt(door: string, answer: (stream: Duplex) => void): void;
  run(command: InstanceCommand, output: OutputSink): Promise<ExitRecord>;
  /** Writes what was changed in the tree to a file; tells what that lacks, or why there is none. */
  writePatch(file: string): Promise<{ leftOut: string[]; failure: Failure | null }>;
  /** After the patch, the same as a git bundle; why there is none, or null. */
  writeBundle(file: string): Promise<string | null>;
  /** A command of the host's own: what it prints, null where that is more than it may be; and the end of its complaint. */
  call(command: OwnCommand, options: CallOptions): Promise<Called>;
  /** What is left of the attempt's time, ms. */
  budgetMs(): number;
}

type InstanceCommand = Pick<ExecSpec, "stretch" | "argv" | "env" | "silenceMs" | "stopSignals" | "doors"> & {
  stdin?: "pipe";
};
type OnOutput = (stream: "stdout" | "stderr", bytes: Buffer) => void;

/** Taking the patch has this long, whatever the work has used up. */
const PATCH_MS = 120_000;

export function createInstance(
  work: Work,
  tree: PreparedTree,
  options: {
    hostId: string;
    budgetMs: number;
    redactor: Redactor;
    /** Environment variables of what runs in it; what takes the patch has none of them. */
    secrets: Record<string, string>;
    network: InstanceNetwork;
    outOfPatch?: readonly string[];
  },
): Instance {
  const { taskId, attempt, request } = work.order;
  const { guest } = work.machine;
  const isolation = guest.hello()?.isolation;
  const apart = isolation === "sandbox" || isolation === "namespaces";
  const workTree = apart ? WORK_PATH : tree.workTree;
  const home = apart ? HOME_PATH : tree.home;
  const inGit = { workTree, gitDir: apart ? GIT_PATH : tree.gitDir, sha: request.sha };
  const { network } = options;
  let budgetMs = options.budgetMs;
  const base = {
    attempt: work.attemptKey,
    cwd: workTree,
    mounts: {
      workTree: tree.workTree,
      home: tree.home,
      temporary: tree.temporary,
      ...(tree.dependencies === undefined ? {} : { dependencies: tree.dependencies }),
    },
    network: network.kind,
    stdin: "none" as const,
    limits: {
      // The repository may have lowered what it was admitted with.
      memoryBytes: Math.min(work.memoryLimitBytes, request.limits?.memoryBytes ?? work.memoryLimitBytes),
      cpus: request.limits?.cpus ?? REQUEST_DEFAULTS.cpuLimit,
      processes: request.limits?.processes ?? REQUEST_DEFAULTS.processLimit,
    },
  };
  const bounded = { ...base.limits, diskFreeBytes: ATTEMPT_FLOOR_BYTES };
  const dependencies = dependencyEnvironment(
    apart && tree.dependencies ? DEPENDENCIES_PATH : tree.dependencies,
  );
  const environment = {
    ...machineEnvironment(work.machine.environment, isolation),
    ...network.environment,
    HOME: home,
    MESH_TASK_ID: taskId,
    MESH_ATTEMPT: String(attempt),
    MESH_HOST_ID: options.hostId,
  };

  function start({ env, doors = [], ...command }: InstanceCommand, onOutput: OnOutput): GuestProcess {
    const process = guest.exec(
      {
        ...base,
        limits: bounded,
        ...command,
        doors: [...network.doors, ...doors],
        env: { ...dependencies, ...options.secrets, ...env, ...environment, ...pathOf(env) },
        timeoutMs: Math.max(1, budgetMs),
      },
      onOutput,
    );
    const finished = process.finished.then((exit) => {
      budgetMs -= exit.durationMs;
      return exit;
    });
    return { ...process, finished };
  }

  const leaveOut = options.outOfPatch ?? [];

  return {
    workTree,
    home,
    isAlikeEverywhere: apart,
    passingPatch: { ...passingPatchCommand({ ...inGit, leaveOut }), usesGit: true },
    budgetMs: () => budgetMs,
    start,
    answerAt: (door, answer) => guest.answerAt(work.attemptKey, door, answer),
    run: (command, output) => start(command, (stream, bytes) => output.write(stream, bytes)).finished,
    async writePatch(file) {
      const isSecret = options.redactor.finder();
      const { exit, ...written } = await writeOut(file, patchCommand({ ...inGit, leaveOut }), isSecret);
      const failure = infrastructureFailure(exit, "taking the patch") ?? patchFailure(exit.exitCode, written);
      const leftOut = written.complaint.split("\n").filter((line) => line.startsWith(LEFT_OUT));
      return { leftOut, failure };
    },
    async writeBundle(file) {
      const { exit, bytes, complaint } = await writeOut(
        file,
        bundleCommand({ ...inGit, taskId }),
        () => false,
      );
      if (exit.exitCode === 0 && bytes <= PATCH_MAX_BYTES) return null;
      await truncate(file);
      return complaint.trim() || `it has ${bytes} bytes, or was ended`;
    },
    call: (command, callOptions) =>
      hearWhole((hear) => own(command, callOptions.stdin === undefined ? "none" : "pipe", hear), callOptions),
  };

  /** A command of the host's own, in the instance. */
  async function own(
    { argv, env, usesGit }: OwnCommand,
    stdin: "none" | "pipe",
    hear: (chunk: Buffer) => void,
  ): Promise<{ process: GuestProcess; complaint(): string }> {
    let complaint = "";
    const process = guest.exec(
      {
        ...base,
        ...(usesGit ? { mounts: { ...base.mounts, gitDir: tree.gitDir } } : {}),
        stdin,
        stretch: await work.stretch(),
        argv,
        env: { ...environment, ...env },
        timeoutMs: PATCH_MS,
      },
      (stream, chunk) => {
        if (stream === "stderr") complaint = (complaint + chunk.toString()).slice(-1_000);
        else hear(chunk);
      },
    );
    return { process, complaint: () => complaint };
  }

  /** What a command on the host's own git folder prints, as far as it may be kept. */
  async function writeOut(
    file: string,
    command: Pick<OwnCommand, "argv" | "env">,
    isSecret: (chunk: Buffer) => boolean,
  ): Promise<{ exit: ExitRecord; bytes: number; leaks: boolean; complaint: string }> {
    const out = createWriteStream(file);
    const written = finished(out);
    // Heard below; until then a full disk must not be an error that nobody hears.
    written.catch(() => {});
    let bytes = 0;
    let leaks = false;
    const { process, complaint } = await own({ ...command, usesGit: true }, "none", (chunk) => {
      bytes += chunk.length;
      leaks ||= isSecret(chunk);
      if (!leaks && bytes <= PATCH_MAX_BYTES) out.write(chunk);
    });
    const exit = await process.finished;
    out.end();
    await written;
    // Not even the beginning of one may be shown.
    if (leaks) await truncate(file);
    return { exit, bytes, leaks, complaint: complaint() };
  }
}

function patchFailure(
  exitCode: number | null,
  { bytes, leaks, complaint }: { bytes: number; leaks: boolean; complaint: string },
): Failure | null {
  if (leaks) return { category: "agent", message: "the patch holds a secret of this host, and is not kept" };
  if (bytes > PATCH_MAX_BYTES)
    return { category: "resource", message: `the patch has ${bytes} bytes; ${PATCH_MAX_BYTES} are allowed` };
  if (exitCode === 0) return null;
  if (exitCode === HUGE_FILE)
    return { category: "resource", message: `a file is too large for any patch: ${complaint.trim()}` };
  return { category: "internal", message: `the patch could not be taken: ${complaint.trim()}` };
}
