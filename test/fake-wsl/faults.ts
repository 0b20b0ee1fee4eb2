// Faults that tests switch on while the fake runs: a file in the state folder that is read anew for every call.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

export interface Faults {
  /** Calls whose line begins so never end; all of them for "". */
  hang?: string;
  /** Every call of the service fails so until `--shutdown`. */
  unexpected?: boolean;
  /** A disk cannot be opened before this time, ms since 1970. */
  sharingViolationUntilMs?: number;
  /** Importing fails for want of space. */
  diskFull?: boolean;
  /** Distros that start find their disk read-only. */
  readOnly?: boolean;
  /** This is said on stderr by every command that runs. */
  proxyWarning?: boolean;
  /** `--unregister` leaves the disk's file. */
  unregisterLeavesFile?: boolean;
  /** So many disks may be attached at once. */
  maxDisks?: number;
  /** Another code for every call of the service, such as `Wsl/E_ACCESSDENIED`. */
  code?: string;
  /** Clocks of what is started next go wrong by so much, as after a sleep of the machine, ms. Takes libfaketime. */
  clockOffMs?: number;
  /** What is started next is killed after so long, as the kernel does when memory is short, ms. */
  killedForMemoryAfterMs?: number;
}

const fileIn = (stateDir: string) => path.join(stateDir, "faults.json");

export function readFaults(stateDir: string): Faults {
  try {
    return JSON.parse(readFileSync(fileIn(stateDir), "utf8")) as Faults;
  } catch {
    return {};
  }
}

export function writeFaults(stateDir: string, faults: Faults): void {
  if (Object.keys(faults).length === 0) rmSync(fileIn(stateDir), { force: true });
  else writeFileSync(fileIn(stateDir), JSON.stringify(faults));
}
