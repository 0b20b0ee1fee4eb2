// Why a call of wsl.exe failed, by the last segment of the code that it prints. Its words are in the language of the
// machine, and where the code is found differs from build to build: neither decides anything here.
import { linesOf } from "./output-text.ts";

export type WslReason =
  /** There is no wsl.exe, or it does not start. */
  | "no-wsl"
  /** It did not end in its time, and was killed. */
  | "hung"
  /** It belongs to somebody else, or nothing proves that it is ours. */
  | "not-ours"
  | "no-such-distro"
  | "name-taken"
  | "folder-taken"
  | "no-such-user"
  /** Something else is being done with this distro. */
  | "busy"
  | "not-stopped"
  | "disk-in-use"
  | "file-missing"
  /** The image or the disk is damaged, or holds no Linux. */
  | "corrupt"
  | "disk-full"
  /** The service has lost its virtual machine: all distros have to be shut down. */
  | "service-broken"
  /** No virtual machine can be started at all. */
  | "no-vm"
  /** WSL serves no such account. */
  | "wrong-account"
  | "too-many-disks"
  | "bad-argument"
  /** No program of this name inside. */
  | "no-such-program"
  | "too-much-output"
  | "unknown";

export interface WslFailure {
  reason: WslReason;
  /** As wsl.exe printed it. */
  code: string | null;
  /** What was said, for a person. */
  message: string;
}

export type WslOutcome<Value> = { ok: true; value: Value } | { ok: false; failure: WslFailure };

export const failed = (
  reason: WslReason,
  message: string,
  code: string | null = null,
): { ok: false; failure: WslFailure } => ({ ok: false, failure: { reason, code, message } });

const CODE = /\b(?:Wsl|Bash|WslConfig|CreateInstance|Service)(?:\/[A-Za-z0-9_]+)+/;

/** The code on the last line of what was printed; null: usage, or no distro at all, or no failure of wsl.exe's own. */
export function codeIn(text: string): string | null {
  return CODE.exec(linesOf(text).at(-1) ?? "")?.[0] ?? null;
}

const REASONS: Record<string, WslReason> = {
  WSL_E_DISTRO_NOT_FOUND: "no-such-distro",
  WSL_E_DEFAULT_DISTRO_NOT_FOUND: "no-such-distro",
  ERROR_ALREADY_EXISTS: "name-taken",
  ERROR_FILE_EXISTS: "folder-taken",
  WSL_E_USER_NOT_FOUND: "no-such-user",
  E_ILLEGAL_STATE_CHANGE: "busy",
  WSL_E_DISTRO_NOT_STOPPED: "not-stopped",
  ERROR_SHARING_VIOLATION: "disk-in-use",
  ERROR_FILE_NOT_FOUND: "file-missing",
  ERROR_PATH_NOT_FOUND: "file-missing",
  WSL_E_IMPORT_FAILED: "corrupt",
  WSL_E_NOT_A_LINUX_DISTRO: "corrupt",
  WSL_E_DISK_CORRUPTED: "corrupt",
  ERROR_FILE_CORRUPT: "corrupt",
  ERROR_DISK_FULL: "disk-full",
  ERROR_HANDLE_DISK_FULL: "disk-full",
  "0x80070070": "disk-full",
  E_UNEXPECTED: "service-broken",
  WSL_E_VM_CRASHED: "service-broken",
  WSAETIMEDOUT: "service-broken",
  "0x8007274c": "service-broken",
  HCS_E_SERVICE_NOT_AVAILABLE: "no-vm",
  HCS_E_CONNECTION_TIMEOUT: "no-vm",
  HCS_E_HYPERV_NOT_INSTALLED: "no-vm",
  WSL_E_LOCAL_SYSTEM_NOT_SUPPORTED: "wrong-account",
  E_ACCESSDENIED: "wrong-account",
  WSL_E_TOO_MANY_DISKS_ATTACHED: "too-many-disks",
  E_INVALIDARG: "bad-argument",
};

/** Of a code such as `Wsl/Service/CreateInstance/E_UNEXPECTED`. */
export const reasonOf = (code: string): WslReason => REASONS[code.split("/").at(-1) ?? ""] ?? "unknown";

/** The failure of a call of wsl.exe that has printed this. */
export function failureIn(stdout: string, stderr: string): WslFailure {
  const code = codeIn(stdout);
  const said = linesOf(`${stdout}\n${stderr}`).join(" ").slice(-1_000);
  return {
    reason: code === null ? "unknown" : reasonOf(code),
    code,
    message: said === "" ? "wsl.exe failed without a word" : said,
  };
}
