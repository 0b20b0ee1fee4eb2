// How what a supervisor starts is marked as its host's, so that a later life finds it.
import { createHash } from "node:crypto";

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
