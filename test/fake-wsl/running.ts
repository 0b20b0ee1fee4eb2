// A command in a distro of the fake: a relay is started for it, with the three pipes of whoever asked, and ends with
// that one. Nothing is told to the command by any other way than its pipes and its terminal.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, copyFileSync, globSync, openSync, readFileSync } from "node:fs";
import type { Socket } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { Faults } from "./faults.ts";
import { type Instance, latency, leftOf, type Machine } from "./machine.ts";
import type { Registered, Registry } from "./registry.ts";
import type { Answer, Request } from "./service-line.ts";

type RunRequest = Extract<Request, { op: "run" }>;
const GUEST = path.join(import.meta.dirname, "guest.pl");
const LEFT_POLL_MS = 100;
let sessions = 0;

export async function runInside(
  request: RunRequest,
  socket: Socket,
  service: {
    registry: Registry;
    machine: Machine;
    locked: <Value>(act: () => Promise<Value>) => Promise<Value>;
    faults: Faults;
  },
): Promise<Answer> {
  const { registry, machine, locked, faults } = service;
  const started = await locked(async () => {
    const distro = registry.find(request.name);
    if (!distro) return { error: "Wsl/Service/WSL_E_DISTRO_NOT_FOUND" };
    if (distro.exclusive !== null) return { error: "Wsl/Service/CreateInstance/E_ILLEGAL_STATE_CHANGE" };
    const instance = await machine.start(distro, faults);
    if (typeof instance === "string") return { error: `Wsl/Service/CreateInstance/${instance}` };
    machine.hold(instance);
    return { distro, instance };
  });
  if (started.error !== undefined) return { error: started.error };
  await latency("command");
  const { distro, instance } = started;
  // Whoever asked may have been killed meanwhile.
  if (socket.destroyed || machine.instances.get(distro.id) !== instance) {
    machine.release(distro.id, instance);
    return { exit: 1 };
  }
  const session = `/run/WSL/${process.pid}_${++sessions}_interop`;
  const env = { ...request.env, ...wrongClock(faults, instance) };
  const relay = startRelay({ ...request, env }, distro, instance, session);
  follow(relay, { socket, machine, distro, instance, session, faults });
  return { started: true };
}

function startRelay(
  request: RunRequest,
  distro: Registered,
  instance: Instance,
  session: string,
): ChildProcess {
  const pipes = (["stdin", "stdout", "stderr"] as const).map((name) =>
    openSync(path.join(request.pipes, name), name === "stdin" ? "r" : "w"),
  );
  const user = request.user ?? defaultUser(instance, distro);
  const relay = spawn(
    "perl",
    [GUEST, "relay", String(instance.pid), user, request.folder, ...request.command],
    {
      stdio: ["pipe", "pipe", pipes[2], ...pipes],
      detached: true,
      env: {
        PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        LANG: "C.UTF-8",
        ...request.env,
        WSL_DISTRO_NAME: distro.name,
        NAME: distro.name,
        WSL_INTEROP: session,
      },
    },
  );
  for (const pipe of pipes) closeSync(pipe);
  instance.relays.add(relay);
  relay.stdin?.on("error", () => {});
  return relay;
}

function follow(
  relay: ChildProcess,
  context: {
    socket: Socket;
    machine: Machine;
    distro: Registered;
    instance: Instance;
    session: string;
    faults: Faults;
  },
): void {
  const { socket, machine, distro, instance, session, faults } = context;
  let exit: number | null = null;
  const letGo = () => relay.stdin?.destroy();
  const say = (answer: Answer) => {
    if (!socket.destroyed) socket.end(`${JSON.stringify(answer)}\n`);
  };
  if (relay.stdout)
    createInterface({ input: relay.stdout }).on("line", (line) => {
      const [word, value] = line.split(" ");
      if (word === "pid") killForMemory(Number(value), faults);
      if (word !== "exit") return;
      exit = Number(value);
      // A distro that goes away takes its programs along, and says no more of them than that.
      setImmediate(() => say({ exit: isLiving() ? (exit ?? 1) : 1 }));
      void untilNothingIsLeft();
    });
  const isLiving = () => machine.instances.get(distro.id) === instance && !instance.ending;
  /** What a command has left keeps its distro, and its relay holds the terminal. */
  async function untilNothingIsLeft(): Promise<void> {
    while (isLiving() && leftOf(session).some((pid) => pid !== relay.pid)) await delay(LEFT_POLL_MS);
    letGo();
  }
  // Killed: the relay ends at once, and with it the terminal. What survives that keeps nothing.
  socket.once("close", () => {
    if (exit === null) letGo();
  });
  relay.once("close", () => {
    instance.relays.delete(relay);
    machine.release(distro.id, instance);
    if (exit === null) say({ exit: 1 });
  });
}

function killForMemory(pid: number, { killedForMemoryAfterMs }: Faults): void {
  if (killedForMemoryAfterMs === undefined) return;
  setTimeout(() => {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It was quicker.
    }
  }, killedForMemoryAfterMs);
}

/** The library is put where the command finds it: in the distro's own /run. */
function wrongClock({ clockOffMs }: Faults, { pid }: Instance): Record<string, string> {
  if (clockOffMs === undefined) return {};
  const library = globSync("/usr/lib/*/faketime/libfaketimeMT.so.1")[0];
  if (library === undefined) throw new Error("a wrong clock takes libfaketime");
  copyFileSync(library, `/proc/${pid}/root/run/libfaketimeMT.so.1`);
  const seconds = clockOffMs / 1_000;
  return {
    // The relay itself is not there yet.
    INSIDE_LD_PRELOAD: "/run/libfaketimeMT.so.1",
    FAKETIME: `${seconds < 0 ? "" : "+"}${seconds}`,
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    FAKETIME_NO_CACHE: "1",
  };
}

/** By its `/etc/wsl.conf`, else the registered number. */
function defaultUser(instance: Instance, distro: Registered): string {
  try {
    const text = readFileSync(`/proc/${instance.pid}/root/etc/wsl.conf`, "utf8");
    const section = /^\[user\]\s*$([\s\S]*?)(?=^\[|$(?![\s\S]))/m.exec(text)?.[1] ?? "";
    const named = /^\s*default\s*=\s*(\S+)/m.exec(section)?.[1];
    if (named) return named;
  } catch {
    // It has none.
  }
  return `#${distro.defaultUid}`;
}
