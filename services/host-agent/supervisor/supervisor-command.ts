// How a guest supervisor is started, here or in a distro: its argv, by the settings that it goes by.
import { ownProgram } from "../../../shared/process/own-program.ts";
import { stateArguments } from "../guest/state.ts";

interface SupervisorOptions {
  stateDir: string;
  leaseMs: number;
  checkMs: number;
  frozenLimitMs: number;
  /** False: not even where one is to be had. */
  sandbox?: boolean;
  /** Paths besides the system's own that it shows. */
  tools?: string[];
}

/** Argv of a supervisor beside the host agent, on the same kernel. */
export const localSupervisorCommand = (options: SupervisorOptions): string[] => [
  ...ownProgram("services/host-agent/guest/main.ts"),
  ...supervisorArguments(options),
];

/** For the guest's programs, wherever they are. */
export const supervisorArguments = (options: SupervisorOptions): string[] => [
  "supervisor",
  ...stateArguments(options.stateDir),
  ...["--lease-ms", String(options.leaseMs)],
  ...["--check-ms", String(options.checkMs)],
  ...["--tick-ms", String(options.checkMs * 2)],
  ...["--frozen-limit-ms", String(options.frozenLimitMs)],
  ...(options.sandbox === false ? ["--no-sandbox"] : []),
  ...(options.tools ?? []).flatMap((tool) => ["--tool", tool]),
];
