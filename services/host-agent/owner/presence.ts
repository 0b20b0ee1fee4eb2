// Whether somebody sits at the machine, and since when not. What cannot be told is `unknown`.
import { readdir } from "node:fs/promises";
import { printedBy, windowsProgram } from "./program.ts";

/** `idle`: the system counts for how long; `away`: it only says that nobody is there. */
export type Seen =
  | { kind: "idle"; idleMs: number }
  | { kind: "present" }
  | { kind: "away" }
  | { kind: "unknown" };

export const PRESENCE_EVERY_MS = process.platform === "win32" ? 60_000 : 30_000;

const UNKNOWN: Seen = { kind: "unknown" };

export function readPresence(): Promise<Seen> {
  switch (process.platform) {
    case "linux":
      return presenceOnLinux("/run/systemd/sessions");
    case "darwin":
      return printedBy("ioreg", ["-c", "IOHIDSystem", "-d", "4"]).then(presenceOnMac);
    case "win32":
      return printedBy(windowsProgram("tasklist.exe"), ["/FO", "CSV", "/NH", "/FI", "SESSION ne 0"]).then(
        presenceOnWindows,
      );
    default:
      return Promise.resolve(UNKNOWN);
  }
}

/** The folder has a file for each session, of which logind tells. Its own idle hint would count who keeps us awake. */
export async function presenceOnLinux(sessions: string): Promise<Seen> {
  const names = await readdir(sessions).catch(() => null);
  if (names === null) return UNKNOWN;
  const ids = names.filter((name) => /^\w+$/.test(name));
  if (ids.length === 0) return { kind: "away" };
  const properties = ["Class", "Type", "State", "IdleHint", "IdleSinceHint"];
  const printed = await printedBy("loginctl", [
    "show-session",
    ...properties.map((name) => `--property=${name}`),
    ...ids,
  ]);
  return printed === null ? UNKNOWN : presenceInSessions(printed, Date.now());
}

/**
 * `printed`: a paragraph of `Name=value` lines for each session. The one that was used last counts. A desktop says by its
 * hint whether it is idle, and the time is when it last said so; of a terminal, the time is that of its last use.
 */
export function presenceInSessions(printed: string, nowMs: number): Seen {
  let idleMs = Number.POSITIVE_INFINITY;
  for (const paragraph of printed.trim().split(/\n\s*\n/)) {
    const session = Object.fromEntries(paragraph.split("\n").map((line) => line.split("=", 2)));
    const { Class = "", Type, State, IdleHint, IdleSinceHint } = session as Record<string, string>;
    if (!Class.startsWith("user") || State === "closing") continue;
    // Microseconds since the epoch; 0 where it tells of none.
    const sinceMs = Number(IdleSinceHint) / 1_000;
    if ((Type !== "tty" && IdleHint !== "yes") || !(sinceMs > 0)) return { kind: "present" };
    idleMs = Math.min(idleMs, Math.max(0, nowMs - sinceMs));
  }
  return idleMs === Number.POSITIVE_INFINITY ? { kind: "away" } : { kind: "idle", idleMs };
}

export function presenceOnMac(printed: string | null): Seen {
  const nanoseconds = /"HIDIdleTime" = (\d+)/.exec(printed ?? "")?.[1];
  return nanoseconds === undefined ? UNKNOWN : { kind: "idle", idleMs: Number(nanoseconds) / 1e6 };
}

/**
 * A service sees no key strokes. What it does see, in any language, is which programs run in which session: a desktop
 * (`explorer.exe`) in a session that is shown somewhere (it has a name) and is not locked (`LogonUI.exe`) is in use.
 */
export function presenceOnWindows(printed: string | null): Seen {
  const desktops = new Set<string>();
  const locked = new Set<string>();
  let lines = 0;
  for (const [, image = "", name, session = ""] of (printed ?? "").matchAll(LISTED)) {
    lines++;
    if (image.toLowerCase() === "explorer.exe" && name !== "") desktops.add(session);
    if (image.toLowerCase() === "logonui.exe") locked.add(session);
  }
  if (lines === 0) return UNKNOWN;
  return [...desktops].some((session) => !locked.has(session)) ? { kind: "present" } : { kind: "away" };
}

/** Image, process id, name of its session, number of its session. */
const LISTED = /^"([^"]+)","\d+","([^"]*)","(\d+)"/gm;
