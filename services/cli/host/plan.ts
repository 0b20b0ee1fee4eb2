// What installing the host agent as a service comes to: a list of steps, made by a pure function of what is wanted. It
// must leave whoever carries it out no choice but whether the service was there before.
import { ENVIRONMENT_NAMES } from "../../../shared/config/environment.ts";
import { STOP_DEADLINE_MS } from "../../../shared/service/run.ts";

export type Platform = "linux" | "darwin" | "win32";

/** The service manager waits so long for the agent to end, ms: longer than that one's own deadline. */
export const STOP_TIMEOUT_MS = STOP_DEADLINE_MS + 10_000;
/** Ended unasked, it is started again after so long, s. */
export const RESTART_SECONDS = 10;
export const DESCRIPTION = "agent-mesh host agent: runs work of the mesh on this machine";

export interface Wanted {
  platform: Platform;
  hostId: string;
  /** The single-file program, which is copied, or Node and the file that it runs, which stay where they are. */
  program: { kind: "single-file"; file: string } | { kind: "checkout"; node: string; main: string };
  /** Who it runs as; null: an account of the mesh's own. On macOS always whoever installs it. */
  account: string | null;
  /** Of the account, which Windows asks for. One of our own gets this as its new one. */
  password: string;
  /** Settings of the host agent, secrets among them. */
  environment: Record<string, string>;
  /** WinSW's program; null: there is none, and a scheduled task takes its place. */
  winsw: string | null;
  /** Of the distro, which the service registers for its own account; null: it has one, or none is wanted. */
  image: string | null;
  machine: Machine;
}

/** What the paths and names depend on. */
export interface Machine {
  home: string;
  uid: number;
  programFiles: string;
  programData: string;
}

/** `when`: only if the service is new, or was there before. */
export type Step = { why: string; when?: "new" | "upgrade" } & Act;
type Act =
  /** Over the bus: nothing new is placed here, and what runs is waited for. And the reverse. */
  | { do: "empty" }
  | { do: "fill" }
  | { do: "folder"; path: string }
  | { do: "copy"; from: string; to: string; mode: number }
  | { do: "write"; path: string; text: string; mode: number }
  | { do: "remove"; path: string }
  | ({ do: "run" } & Command);

export interface Command {
  argv: string[];
  /** For its standard input, so that no secret stands on a command line. */
  input?: string;
}

/** Windows has two, and one does not take the other's place. */
type ServiceKind = "service" | "scheduled task";

/** How a service is, as its manager tells. */
export interface ServiceState {
  installed: boolean;
  kind: ServiceKind;
  running: boolean;
  pid: number | null;
  words: string;
}

/** One platform's way to keep a program running. */
export interface ServiceManager {
  /** Throws a `PlanError` for what it cannot express. */
  install(wanted: Wanted): Step[];
  kindOf(wanted: Wanted): ServiceKind;
  uninstall(machine: Machine): Step[];
  /** What an uninstall leaves: data and logs. */
  left(machine: Machine): string[];
  /** In which the machine's owner says a pause to the service. */
  pauseFolder(machine: Machine): string;
  /** The file with the agent's settings. */
  environmentFile(machine: Machine): string;
  /** Asks how the service is; `read` understands the answer, which is empty where the question failed. */
  ask(machine: Machine): Command;
  /** It answers also for what is not installed: where it does not, it does not run. */
  answersAlways: boolean;
  read(answer: string): ServiceState;
  /** A file that the log is in, or a command that prints it. */
  log(machine: Machine): { file: string } | { argv: (lines: number, follow: boolean) => string[] };
}

/** Something that a service manager's files cannot hold; the message says what was expected. */
export class PlanError extends Error {}

/** Any other setting is an operator's own agent's, of which nobody knows what it is. */
const OURS = new Set<string>(ENVIRONMENT_NAMES);

/** The wish with nothing secret in it, for showing what it comes to. */
export function withoutSecrets(wanted: Wanted): Wanted {
  const hidden = "***";
  const isSecret = (name: string) => !OURS.has(name) || /_(KEY|TOKEN|SECRET)$/.test(name);
  const environment = Object.entries(wanted.environment).map(([name, value]) => [
    name,
    isSecret(name) ? hidden : value.replaceAll(/\/\/[^@/,]*@/g, `//${hidden}@`),
  ]);
  return {
    ...wanted,
    password: hidden,
    environment: Object.fromEntries(environment) as Record<string, string>,
  };
}
