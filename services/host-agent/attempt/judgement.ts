// What the end of a process means, before anybody asks what it was for. Pure.

import type { CheckResult } from "../../../shared/contracts/attempt-result.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { ExitRecord } from "../supervisor/supervisor-link.ts";

/** The failure that is not the program's own doing to report; null if it ended by itself. */
export function infrastructureFailure(exit: ExitRecord, what: string): Failure | null {
  switch (exit.cause) {
    case "exited":
      return null;
    case "timeout":
      return { category: "timeout", message: `${what} took longer than the task may` };
    case "silent":
      return { category: "timeout", message: `${what} was ended: it had said nothing for too long` };
    case "out-of-memory":
      return {
        category: "resource",
        message: `${what} was ended: it used more memory than it may${peakInWords(exit)}`,
      };
    case "disk-full":
      return {
        category: "resource",
        message: `${what} was ended: the disk was nearly full, and this attempt had the most of it`,
      };
    case "too-many-processes":
      return {
        category: "resource",
        message: `${what} was ended: it had more processes than it may at once`,
      };
    case "spawn-failed":
      return {
        category: "setup",
        message: `${what} could not be started: ${exit.message ?? "no reason was given"}`,
      };
    case "frozen-too-long":
      return { category: "host", message: `${what} was frozen for too long: this host was cut off` };
    case "killed":
      return { category: "host", message: `${what} was ended by the host` };
    case "supervisor-died":
      return { category: "host", message: `${what} ended with the guest supervisor` };
  }
}

/** Of a process that ended by itself, such as `exited 3`. */
export const howItEnded = ({ exitCode, signal }: Pick<ExitRecord, "exitCode" | "signal">): string =>
  signal === null ? `exited ${exitCode}` : `was ended by ${signal}`;

/** The failure of an agent that has gone before it told how its work went. `complaint`: the end of its stderr. */
export function endedWithoutResult(exit: ExitRecord, started: boolean, complaint: string): Failure {
  const how = howItEnded(exit);
  const said = complaint.trim() === "" ? "" : `: ${complaint.trim()}`;
  return started
    ? { category: "agent", message: `the agent ${how} without a result${said}` }
    : { category: "setup", message: `the agent did not begin: it ${how}${said}` };
}

const peakInWords = ({ peakMemoryBytes }: ExitRecord): string =>
  peakMemoryBytes === undefined ? "" : ` (${Math.round(peakMemoryBytes / 1_048_576)} MiB at its peak)`;

const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/** A check that could not be run confirms nothing and refutes nothing. */
export function checkVerdict(exit: ExitRecord): CheckResult["verdict"] {
  if (exit.cause !== "exited") return "inconclusive";
  if (exit.exitCode === 0) return "confirmed";
  return exit.exitCode === NOT_EXECUTABLE || exit.exitCode === NOT_FOUND ? "inconclusive" : "refuted";
}
