// `mesh host install|uninstall`: the host agent as a service of this machine. Whatever runs on it is waited for before
// anything is touched.
import { Command } from "commander";
import { interruption } from "../interruption.ts";
import { Failure, messageOf, UsageError } from "../outcome.ts";
import { tell, withMesh } from "../session.ts";
import { orSay } from "../up/up.ts";
import type { Platform, ServiceManager, ServiceState, Step } from "./plan.ts";
import { platformOption } from "./platform-option.ts";
import type { WantedFlags } from "./wanted.ts";

interface Options extends WantedFlags {
  platform: Platform;
  dryRun?: boolean;
  deadline: string;
  now?: boolean;
  quiet?: boolean;
}

export const installCommand = (): Command =>
  withFlags(
    new Command("install")
      .description("install the host agent as a service of this machine, or a newer one in its place")
      .option("--account <name>", "who it runs as (default: an account of its own that nobody logs in to)")
      .option("--winsw <file>", "Windows: the program WinSW, versions 2 and 3; without it a scheduled task")
      .option("--image <file>", "Windows: the distro's image, for an account that has no distro of ours yet")
      .option("--password-file <file>", "Windows: the password of --account, in one line"),
  )
    .addHelpText(
      "after",
      "\nThe service gets the settings that this environment has: NATS_URL, MESH_HOST_SLOTS and so on (.env.example).",
    )
    .action((options: Options) => orSay(() => install(options)));

export const uninstallCommand = (): Command =>
  withFlags(new Command("uninstall").description("remove the service; the host's data and logs stay")).action(
    (options: Options) => orSay(() => uninstall(options)),
  );

const withFlags = (command: Command): Command =>
  command
    .option("--dry-run", "print what would be written and run, without what is secret, and do nothing")
    .addOption(platformOption())
    .option("--deadline <duration>", "how long what runs on this host may go on", "10m")
    .option("--now", "what runs on this host is ended at once, and runs elsewhere")
    .option("--quiet", "no messages on stderr but errors");

async function install(options: Options): Promise<void> {
  await deadlineOf(options);
  const { managerOf } = await import("./managers.ts");
  const { withoutSecrets } = await import("./plan.ts");
  const { wantedOf } = await import("./wanted.ts");
  const wanted = await wantedOf(options.platform, options);
  const manager = managerOf(options.platform);
  const withoutBus = wanted.environment.NATS_URL === undefined;
  if (options.dryRun) {
    if (withoutBus) tell(options, "NATS_URL is not set: to install the service, set it to the bus's address");
    return show(await planned(() => manager.install(withoutSecrets(wanted))));
  }
  if (withoutBus)
    throw new UsageError("NATS_URL is not set: expected the bus's address, for the service to use");
  const steps = await planned(() => manager.install(wanted));
  const before = await stateHere(manager, options);
  if (before.installed && before.kind !== manager.kindOf(wanted))
    throw new UsageError(
      `it is installed as a ${before.kind}: \`mesh host uninstall\` first, to have a ${manager.kindOf(wanted)} in its place`,
    );
  await perform(options, { steps, hostId: wanted.hostId, upgrade: before.installed });
  tell(options, `${wanted.hostId}: installed; \`mesh host status\` tells how it is`);
}

async function uninstall(options: Options): Promise<void> {
  await deadlineOf(options);
  const { managerOf } = await import("./managers.ts");
  const { machineOf } = await import("./wanted.ts");
  const manager = managerOf(options.platform);
  const machine = machineOf(options.platform);
  const steps = manager.uninstall(machine);
  if (options.dryRun) return show(steps);
  const before = await stateHere(manager, options);
  if (!before.installed) throw new Failure("the service is not installed");
  // It speaks as the service does.
  const { parseEnv } = await import("node:util");
  const { readFile } = await import("node:fs/promises");
  Object.assign(process.env, parseEnv(await readFile(manager.environmentFile(machine), "utf8")));
  const { chooseHostId } = await import("../../host-agent/identity.ts");
  const { readEnvironment } = await import("../../../shared/config/environment.ts");
  await perform(options, { steps, hostId: chooseHostId(readEnvironment()), upgrade: false });
  tell(
    options,
    `removed; left are ${manager.left(machine).join(", ")} and the account, if it had one of its own`,
  );
}

async function deadlineOf({ deadline }: Options): Promise<number> {
  const { parseDuration } = await import("../../../shared/config/quantities.ts");
  const ms = parseDuration(deadline);
  if (ms === null) throw new UsageError("--deadline: expected a duration such as 90s or 10m");
  return ms;
}

async function show(steps: Step[]): Promise<void> {
  const { planText } = await import("./show-plan.ts");
  process.stdout.write(planText(steps));
}

/** What a service manager's files cannot hold is the caller's mistake. */
async function planned(plan: () => Step[]): Promise<Step[]> {
  const { PlanError } = await import("./plan.ts");
  try {
    return plan();
  } catch (error) {
    if (error instanceof PlanError) throw new UsageError(error.message);
    throw error;
  }
}

async function stateHere(manager: ServiceManager, { platform }: Options): Promise<ServiceState> {
  const { stateOf } = await import("./carry-out.ts");
  const { machineOf } = await import("./wanted.ts");
  if (platform !== process.platform) throw new UsageError("--platform: goes with --dry-run");
  if (platform === "linux" && process.getuid?.() !== 0)
    throw new UsageError("expected to be run as root, such as by sudo: the service is the machine's");
  return stateOf(manager, machineOf(platform));
}

async function perform(
  options: Options,
  { steps, hostId, upgrade }: { steps: Step[]; hostId: string; upgrade: boolean },
): Promise<void> {
  const { carryOut } = await import("./carry-out.ts");
  const { emptyingOf } = await import("./emptying.ts");
  const { createProgress } = await import("../terminal/progress.ts");
  const deadlineMs = await deadlineOf(options);
  using progress = createProgress(options.quiet);
  const emptying = emptyingOf((work) => withMesh({}, work), {
    hostId,
    deadlineMs,
    progress,
    signal: interruption,
  });
  try {
    await carryOut(steps, {
      upgrade,
      empty: options.now ? async () => {} : emptying.empty,
      fill: emptying.fill,
      say: progress.say,
    });
  } catch (error) {
    if (!emptying.drainedHere()) throw error;
    throw new Failure(`${messageOf(error)} (\`mesh uncordon ${hostId}\` lets it take work again)`);
  }
}
