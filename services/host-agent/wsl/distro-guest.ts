// A distro of ours as a place for instances: one long-lived wsl.exe, which keeps it up, with a guest supervisor at its
// other end. Whatever wsl.exe fails at has a reason; nothing is begun before what a former life left has ended.
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { type LeaseTimes, silenceMs } from "../../../shared/contracts/lease.ts";
import type { Machine } from "../instances/machine.ts";
import { keepGuest } from "../supervisor/guest-keeper.ts";
import { supervisorArguments } from "../supervisor/supervisor-command.ts";
import { remoteWorkspaces } from "../workspace/remote.ts";
import { watchClock } from "./clock-watch.ts";
import { DISTRO_PATH, hostFolderIn, MARKER_FILE, NODE_PROGRAM, workspacesIn } from "./distro-layout.ts";
import { bundleGuest } from "./guest-bundle.ts";
import { installGuest } from "./install-guest.ts";
import { madeOnce } from "./made-once.ts";
import { hasMark } from "./mark.ts";
import type { Wsl } from "./wsl.ts";
import { wslEnvironment } from "./wsl-call.ts";
import type { WslFailure, WslOutcome } from "./wsl-error.ts";

export interface DistroOptions {
  wsl: Wsl;
  /** Two host agents of one Windows user share the distro, and nothing in it. */
  installation: string;
  times: LeaseTimes;
  /** Attempts are kept apart from their distro, not only from one another. */
  sandbox: boolean;
  /** The distro is its attempt's own, which may be root there. */
  isWorkRoot: boolean;
  tools: string[];
  allowFileClones: boolean;
  /** By distro, what was begun to end what is left there: it may go on after nobody waits for it any more. */
  ending: Map<string, Promise<unknown>>;
  /** All of WSL may be shut down if nothing else helps. */
  mayShutDown: boolean;
  log: Logger;
}

/** A failure of WSL on its way to whoever wanted an instance. */
export class WslProblem extends Error {
  readonly failure: WslFailure;
  constructor(failure: WslFailure) {
    super(`WSL, ${failure.reason}: ${failure.message}`);
    this.failure = failure;
  }
}

const AGAIN_MS = 1_000;
const TOO_LONG: WslFailure = { reason: "hung", code: null, message: "its lease has run out meanwhile" };
/** What programs need to run; of Windows' environment nothing crosses. */
const ENVIRONMENT = { PATH: DISTRO_PATH, LANG: "C.UTF-8" };
const ENV_PROGRAM = "/usr/bin/env";

const bundle = madeOnce(bundleGuest);

/** With its supervisor at work; rejects with a `WslProblem`. */
export async function openDistro(
  distro: string,
  options: DistroOptions,
  signal: AbortSignal,
): Promise<Machine> {
  const { wsl, times, log, allowFileClones, isWorkRoot } = options;
  const { stateDir, workspacesFolder } = foldersOf(options);
  const guest = await keepGuest({
    command: async () => {
      const program = await prepare(distro, options);
      const argv = [
        // WSL may add Windows' own PATH, or set none.
        ENV_PROGRAM,
        ...Object.entries(ENVIRONMENT).map(([name, value]) => `${name}=${value}`),
        NODE_PROGRAM,
        program,
        ...supervisorArguments({ stateDir, ...times, sandbox: options.sandbox, tools: options.tools }),
      ];
      return wsl.commandInside({ distro, user: "root", argv });
    },
    env: wslEnvironment(),
    signal,
    silenceMs: silenceMs(times),
    endFormerLife: () => endInside(distro, options),
    log,
  });
  const workspaces = remoteWorkspaces({ guest, folder: workspacesFolder, allowFileClones, isWorkRoot, log });
  const clock = watchClock({ distro, aheadMs: guest.clockSkewMs, wsl, log });
  return {
    guest,
    workspaces,
    isWorkRoot,
    environment: ENVIRONMENT,
    programs: workspaces.programs,
    async [Symbol.asyncDispose]() {
      clock[Symbol.dispose]();
      await guest[Symbol.asyncDispose]();
    },
  };
}

const foldersOf = ({ installation }: Pick<DistroOptions, "installation">) => {
  const folder = hostFolderIn(installation);
  return { stateDir: `${folder}/supervisor`, workspacesFolder: workspacesIn(folder) };
};

/** The distro is ours, up, has this host's guest program, and nothing of a former life; path of the program. */
async function prepare(distro: string, options: DistroOptions): Promise<string> {
  // It would end what is begun now as well.
  await options.ending.get(distro);
  try {
    const program = await install(distro, options.wsl);
    await endOrphans(distro, program, options);
    return program;
  } catch (error) {
    await shutDownIfBroken(error, options);
    throw error;
  }
}

/** After some sleeps nothing else helps. Whoever met the problem tries again anyway. */
export async function shutDownIfBroken(
  problem: unknown,
  { wsl, mayShutDown, log }: DistroOptions,
): Promise<void> {
  if (!mayShutDown || !(problem instanceof WslProblem) || problem.failure.reason !== "service-broken") return;
  log.warn({ problem: problem.message }, "WSL is broken: it is shut down, to begin anew");
  const shut = await wsl.shutdown();
  if (!shut.ok) log.error(shut.failure, "WSL could not be shut down");
}

/** Path of the guest program; nothing is run in a distro that is not ours. */
async function install(distro: string, wsl: Wsl): Promise<string> {
  if (!valueOf(await hasMark(wsl.run, distro)))
    throw new WslProblem({
      reason: "not-ours",
      code: null,
      message: `${distro} has no mark of ours (${MARKER_FILE}): it is somebody else's, who has to give it another name`,
    });
  return valueOf(await installGuest(wsl, distro, await bundle()));
}

/** Ends what other supervisors of this host have left there. */
async function endOrphans(distro: string, program: string, options: DistroOptions): Promise<void> {
  const { stateDir } = foldersOf(options);
  const argv = [NODE_PROGRAM, program, "end-former-life", stateDir];
  const { exitCode, stdout, stderr } = valueOf(await options.wsl.run({ distro, user: "root", argv }));
  const ended = /^ended (\d+)$/m.exec(stdout.toString())?.[1];
  // Exit codes say little there; its word says all.
  if (ended === undefined)
    throw new WslProblem({
      reason: "unknown",
      code: null,
      message: `what a former life left in ${distro} cannot be ended: exit code ${exitCode}, ${stderr.trim()}`,
    });
  if (ended !== "0")
    options.log.warn({ distro, ended }, "ended what a former life of this host agent had left");
}

/**
 * Resolves once nothing of a supervisor that is cut off can act any more: its processes are seen gone, or its distro is
 * down, or its lease has run out. That one freezes all it runs, and nobody could let it go on.
 */
export async function endInside(distro: string, options: DistroOptions): Promise<void> {
  const deadline = performance.now() + silenceMs(options.times);
  for (;;) {
    const leftMs = Math.max(0, deadline - performance.now());
    const tried = tryToEnd(distro, options);
    // Whoever waits for its end only has to know that it has come.
    options.ending.set(
      distro,
      tried.catch(() => {}),
    );
    const problem = await Promise.race([tried, delay(leftMs, TOO_LONG)]);
    if (problem === null) return;
    options.log.warn({ distro, ...problem }, "cannot see what is left in a distro");
    if (performance.now() >= deadline) return;
    await delay(AGAIN_MS);
  }
}

async function tryToEnd(distro: string, options: DistroOptions): Promise<WslFailure | null> {
  const { wsl } = options;
  const listed = await wsl.list();
  if (!listed.ok) return listed.failure;
  const found = listed.value.find(({ name }) => name.toLowerCase() === distro.toLowerCase());
  if (found === undefined || found.state === "Stopped") return null;
  try {
    await endOrphans(distro, await install(distro, wsl), options);
    return null;
  } catch (error) {
    if (!(error instanceof WslProblem)) throw error;
    if (error.failure.reason === "not-ours") return null;
    // The last resort: it ends everything there.
    const terminated = await wsl.terminate(distro);
    return terminated.ok ? null : error.failure;
  }
}

export function valueOf<Value>(outcome: WslOutcome<Value>): Value {
  if (outcome.ok) return outcome.value;
  throw new WslProblem(outcome.failure);
}
