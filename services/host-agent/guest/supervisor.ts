// The guest supervisor: runs processes for the host agent and ends them with it. It owns the lease: without one,
// whoever is to blame, what runs here is frozen. It speaks frames on stdio, and never outlives its stdin.
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import path from "node:path";
import { parseArgs } from "node:util";
import { AttemptGroup, type GroupPorts } from "./attempt-group.ts";
import { findCgroups, removeSupport } from "./cgroup.ts";
import { DiskWatch } from "./disk-watch.ts";
import { Doors } from "./doors.ts";
import { Lease, type Stamp } from "./lease.ts";
import { OwnPrograms } from "./own-programs.ts";
import { raisePriority } from "./priority.ts";
import {
  encodeControl,
  encodeData,
  type Frame,
  FrameDecoder,
  type FromGuest,
  PROTOCOL_VERSION,
  ProtocolError,
  type ToGuest,
} from "./protocol.ts";
import { findSandbox } from "./sandbox.ts";
import { cgroupTag, MARK_NAME } from "./state.ts";
import { startWatchdog } from "./watchdog.ts";

/** So much may wait for the host to read it before ticks are left out, bytes. */
const TICK_BACKLOG_BYTES = 1_048_576;
/** How often it is told what the attempts use. */
const USE_MS = 2_000;
const END_DEADLINE_MS = 5_000;
const END_POLL_MS = 10;

const { values: options } = parseArgs({
  options: {
    "lease-ms": { type: "string", default: "12000" },
    "check-ms": { type: "string", default: "250" },
    "tick-ms": { type: "string", default: "500" },
    "frozen-limit-ms": { type: "string", default: "3600000" },
    "state-dir": { type: "string", default: "/tmp" },
    "no-sandbox": { type: "boolean", default: false },
    tool: { type: "string", multiple: true, default: [] },
  },
});
const stateDir = options["state-dir"];
const tickMs = Number(options["tick-ms"]);
const checkMs = Number(options["check-ms"]);
const frozenLimitMs = Number(options["frozen-limit-ms"]);
const supervisor = randomUUID().slice(0, 13);
const lease = new Lease(Number(options["lease-ms"]), supervisor);
const groups = new Map<string, AttemptGroup>();
const attemptOf = new Map<number, string>();
const killing = new Set<string>();
const disk = new DiskWatch();

const priority = raisePriority();
const watchdog = startWatchdog({
  stateDir,
  slackMs: 2 * checkMs,
  onLost: () => void end(),
});
mkdirSync(stateDir, { recursive: true });
const sandbox = findSandbox(
  stateDir,
  options["no-sandbox"] ? null : { dataDir: path.dirname(stateDir), tools: options.tool },
);
const cgroups = findCgroups(cgroupTag(stateDir));

// Not process.stdout: that one blocks on a pipe nobody reads, and a blocked supervisor freezes nothing.
const host = new Socket({ fd: 1, readable: false, writable: true });
const resumes = new Set<() => void>();
host.on("drain", () => {
  for (const resume of resumes) resume();
  resumes.clear();
  doors.drained();
});
host.on("error", () => void end());
process.on("SIGHUP", () => void end());
// Only the host says when to stop; a terminal's Ctrl-C is for it.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

const say = (message: FromGuest) => host.write(encodeControl(message));
const doors = new Doors(stateDir, (bytes) => host.write(bytes));

const ports: GroupPorts = {
  sandbox,
  cgroups,
  priority,
  mark: [MARK_NAME, stateDir],
  supervisor,
  doors,
  spawned: (number, pid) => say({ type: "spawned", process: number, pid }),
  output(number, stream, bytes, resume) {
    if (host.write(encodeData(stream, number, bytes))) return true;
    resumes.add(resume);
    return false;
  },
  exited(exit) {
    say({ type: "exit", ...exit });
    const attempt = attemptOf.get(exit.process);
    attemptOf.delete(exit.process);
    if (attempt !== undefined && killing.has(attempt)) settle(attempt);
  },
};

const ownPrograms = new OwnPrograms(ports);

say({
  type: "hello",
  supervisor,
  pid: process.pid,
  protocol: PROTOCOL_VERSION,
  isolation: sandbox.isolation,
  ownNetwork: sandbox.ownNetwork,
  freezer: cgroups.freezer === null ? "signals" : cgroups.freezer.version === 2 ? "cgroup-v2" : "cgroup-v1",
  limits: {
    memory: cgroups.memory ? "control-group" : process.platform === "linux" ? "watched" : "none",
    processes: cgroups.processes ? "control-group" : "none",
    cpus: cgroups.cpu ? "control-group" : "none",
  },
});

let toldStretch: string | null = null;
let toldAtMs = Number.NEGATIVE_INFINITY;
let lookedAtMs = performance.now();
let useToldAtMs = performance.now();
let warnedUntilMs = 0;
check();
setInterval(check, checkMs);

const decoder = new FrameDecoder<ToGuest>();
process.stdin.on("data", (chunk: Buffer) => {
  // The first thing after waking: what has lapsed is frozen before anything else is heard.
  check();
  try {
    for (const frame of decoder.push(chunk)) hear(frame);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    say({ type: "protocolError", message: error.message });
    void end();
  }
  check();
});
process.stdin.on("end", () => void end());
process.stdin.on("error", () => void end());
process.on("uncaughtException", (error) => {
  process.stderr.write(`guest supervisor: ${error.stack}\n`);
  void end();
});

function clock(): Stamp {
  return { monotonicMs: performance.now(), wallMs: Date.now(), uptimeMs: uptime() };
}

/** The one clock that counts sleep. */
function uptime(): number | null {
  try {
    return Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1_000;
  } catch {
    return null;
  }
}

function check(): void {
  const now = clock();
  const stretch = lease.look(now);
  const sinceLastMs = now.monotonicMs - lookedAtMs;
  lookedAtMs = now.monotonicMs;
  for (const [attempt, group] of groups) {
    if (!group.frozen) {
      group.holdTo(stretch, now.monotonicMs);
      if (group.frozen) say({ type: "frozen", attempt });
    }
    doors.hold(attempt, group.frozen);
    group.look(now.monotonicMs, sinceLastMs, frozenLimitMs);
  }
  disk.look(now.monotonicMs, groups.values());
  tellUse(now.monotonicMs);
  // After the groups: whoever hears it may rely on their being frozen.
  warn(now);
  if (stretch === toldStretch && now.monotonicMs - toldAtMs < tickMs) return;
  if (stretch === toldStretch && host.writableLength > TICK_BACKLOG_BYTES) return;
  toldStretch = stretch;
  toldAtMs = now.monotonicMs;
  say({ type: "tick", stamp: now, stretch });
}

function tellUse(nowMs: number): void {
  if (groups.size === 0 || nowMs - useToldAtMs < USE_MS || host.writableLength > TICK_BACKLOG_BYTES) return;
  useToldAtMs = nowMs;
  say({ type: "use", attempts: [...groups.values()].map((group) => group.use(nowMs)) });
}

/** Tells the watchdog when the lease ends, whenever that has changed. */
function warn(now: Stamp): void {
  const remainingMs = lease.remainingMs(now);
  const untilMs = remainingMs === 0 ? 0 : now.monotonicMs + remainingMs;
  if (Math.abs(untilMs - warnedUntilMs) < checkMs / 2) return;
  warnedUntilMs = untilMs;
  watchdog.tell(remainingMs);
}

function hear(frame: Frame<ToGuest>): void {
  if (doors.hear(frame)) return;
  if (frame.kind === "control") return obey(frame.message);
  if (frame.kind !== "stdin") throw new ProtocolError(`a ${frame.kind} frame from the host`);
  if (ownPrograms.write(frame.number, frame.bytes)) return;
  groupOf(frame.number)?.write(frame.number, frame.bytes);
}

function obey(message: ToGuest): void {
  const now = clock();
  switch (message.type) {
    case "lease":
      return lease.renew(message.stamp, now);
    case "freeze":
      lease.lapse(now);
      return;
    case "exec": {
      const { type, ...exec } = message;
      attemptOf.set(exec.process, exec.attempt);
      const group = groups.get(exec.attempt) ?? new AttemptGroup(exec.attempt, ports);
      groups.set(exec.attempt, group);
      group.exec(exec, lease.look(now), now.monotonicMs);
      if (group.frozen) say({ type: "frozen", attempt: exec.attempt });
      return;
    }
    case "serve":
      return ownPrograms.start(message.process, message.args);
    case "thaw": {
      const group = groups.get(message.attempt);
      const lasts = lease.look(now) === message.stretch;
      if (lasts) group?.thaw(message.stretch);
      // Asked for too late, or for nothing: whoever asks is answered, and nothing runs.
      say({ type: group === undefined ? "gone" : lasts ? "thawed" : "frozen", attempt: message.attempt });
      return;
    }
    case "kill":
      killing.add(message.attempt);
      groups.get(message.attempt)?.kill("killed", now.monotonicMs);
      return settle(message.attempt);
    case "signal":
      // Programs of the guest's own are asked for nothing: what has hung is ended.
      if (ownPrograms.end(message.process)) return;
      return groupOf(message.process)?.signal(message.process, message.signal);
    case "stdinEnd":
      groupOf(message.process)?.endStdin(message.process);
      return;
    default:
      // A newer host's frame.
      return;
  }
}

const groupOf = (number: number): AttemptGroup | undefined => groups.get(attemptOf.get(number) ?? "");

/** Tells that nothing of a killed attempt is left, once that is so. */
function settle(attempt: string): void {
  if (!killing.has(attempt)) return;
  const group = groups.get(attempt);
  if (group !== undefined) {
    if (!group.empty) return;
    group.release();
    groups.delete(attempt);
  }
  killing.delete(attempt);
  doors.close(attempt);
  say({ type: "gone", attempt });
}

let ending = false;
/** The host is gone: so is everything that ran for it, at once. */
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  const deadline = performance.now() + END_DEADLINE_MS;
  const destroyAll = () => {
    for (const group of groups.values()) group.destroy();
    ownPrograms.destroy();
  };
  const isAnyLeft = () =>
    ownPrograms.areLeft() || [...groups.values()].some((group) => group.pids().length > 0);
  destroyAll();
  while (isAnyLeft() && performance.now() < deadline) {
    destroyAll();
    await new Promise((later) => setTimeout(later, END_POLL_MS));
  }
  for (const group of groups.values()) group.release();
  doors.closeAll();
  await watchdog.release();
  removeSupport(cgroups);
  process.exit(0);
}
