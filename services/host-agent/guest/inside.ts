// What a command finds inside its instance, and how one is asked for, whatever keeps it apart from the machine.

/** The same in every instance of every host. */
export const WORK_PATH = "/srv/mesh/work";
export const HOME_PATH = "/srv/mesh/home";
export const GIT_PATH = "/srv/mesh/git";
export const DEPENDENCIES_PATH = "/srv/mesh/dependencies";

/** Sockets that lead to the host. */
export const DOORS_PATH = "/srv/mesh/doors";

/** `own`: one in which there is nobody else, and no way out but through doors. */
export type Network = "machine" | "own";

/**
 * `sandbox`: it sees its own folders and the machine's programs, and nothing else. `namespaces`: it can be ended
 * whole, but sees the machine. `process-group`: what it has started has to be found to be ended.
 */
export type Isolation = "sandbox" | "namespaces" | "process-group";

/** Folders of the host that a command has, each at a path of its own. */
export interface Mounts {
  workTree: string;
  home: string;
  /** Is `/tmp` in a sandbox. */
  temporary: string;
  /** The host's own git folder: for the command that takes the patch. */
  gitDir?: string;
  /** What package managers keep between attempts. */
  dependencies?: string;
}

export interface SandboxedCommand {
  attempt: string;
  argv: string[];
  cwd: string;
  mounts: Mounts | null;
  /** The control groups that it joins before anything else. */
  procsFiles: string[];
  network?: Network;
  /** Folder with the sockets that lead to the host. */
  doors?: string;
  /** Of its own network: the command begins once it is listened on, by whoever holds the channel (`open-port.ts`). */
  port?: number;
}

export interface Sandbox {
  isolation: Isolation;
  /** A command can have a network of its own. */
  ownNetwork: boolean;
  /** Argv that starts the command. */
  wrap(command: SandboxedCommand): string[];
}
