// How a supervisor, and what it starts, are marked as their host's, so that a later life finds them.
import { createHash } from "node:crypto";

/** Among the arguments of every supervisor and watchdog of the host: it is known by them from its first moment. */
export const stateArguments = (stateDir: string): [string, string] => ["--state-dir", stateDir];

export const MARK_NAME = "MESH_SUPERVISOR_STATE";

/** An entry in the environment of everything that the host's supervisors start. */
export const markOf = (stateDir: string): string => `${MARK_NAME}=${stateDir}`;

/** Tells what one command has started from everything else, where no control group does. */
export const commandMark = (supervisor: string, process: number): [name: string, value: string] => [
  "MESH_SUPERVISOR_COMMAND",
  `${supervisor}.${process}`,
];

/** Name of the control group below which the attempts' groups lie. */
export const cgroupTag = (stateDir: string): string =>
  `mesh-${createHash("sha256").update(stateDir).digest("hex").slice(0, 16)}`;
