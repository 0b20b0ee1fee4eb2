// The virtual machine of one Windows user and the distros that run in it. Each is a tree of namespaces with its disk as
// root; all share network and /mnt/wsl. What nobody uses is stopped: a distro first, then the machine.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { Faults } from "./faults.ts";
import { diskOf, type Registered } from "./registry.ts";

const GUEST = path.join(import.meta.dirname, "guest.pl");
/** Typical times, ms, of which FAKE_WSL_LATENCY takes a part; 0 unless it is set. */
const TYPICAL = { machine: 4_000, distro: 1_000, command: 100, terminate: 500, copyPerGib: 8_000 };
const SCALE = Number(process.env.FAKE_WSL_LATENCY ?? 0);

export const latency = (of: keyof typeof TYPICAL, times = 1): Promise<void> =>
  delay(TYPICAL[of] * SCALE * times);

export interface Instance {
  init: ChildProcess;
  /** Process 1 of the distro, as the machine outside numbers it. */
  pid: number;
  relays: Set<ChildProcess>;
  /** Windows processes that keep it: those attached, and those that hold what was left behind. */
  clients: number;
  idle: NodeJS.Timeout | undefined;
  /** Whatever ends in it from now on has not ended by itself. */
  ending: boolean;
  stopped: Promise<void>;
}

export class Machine {
  readonly instances = new Map<string, Instance>();
  #running = false;
  #idle: NodeJS.Timeout | undefined;
  readonly #folder: string;
  readonly #stop: (id: string) => void;

  /** `stop` is called when a distro has been idle for long enough. */
  constructor(folder: string, stop: (id: string) => void) {
    this.#folder = folder;
    this.#stop = stop;
  }

  /** The running instance, which is begun if there is none; or the code of why not. */
  async start(distro: Registered, faults: Faults): Promise<Instance | string> {
    const there = this.instances.get(distro.id);
    if (there) return there;
    if (!this.#running) await latency("machine");
    this.#running = true;
    clearTimeout(this.#idle);
    await latency("distro");
    if (this.instances.size >= (faults.maxDisks ?? 254)) return "WSL_E_TOO_MANY_DISKS_ATTACHED";
    if (Date.now() < (faults.sharingViolationUntilMs ?? 0)) return "MountDisk/HCS/ERROR_SHARING_VIOLATION";
    const shared = path.join(this.#folder, "mnt-wsl");
    const root = path.join(this.#folder, "roots", distro.id);
    for (const folder of [shared, root]) mkdirSync(folder, { recursive: true });
    const init = spawn(
      "unshare",
      [
        ...["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--", "perl", GUEST, "init"],
        ...[diskOf(distro), root, shared, distro.name, faults.readOnly ? ",ro" : ""],
      ],
      { stdio: ["pipe", "pipe", "pipe"], detached: true, env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } },
    );
    const stopped = new Promise<void>((done) => init.once("close", () => done()));
    init.stdin.on("error", () => {});
    let complaint = "";
    init.stderr.on("data", (bytes: Buffer) => {
      complaint += bytes.toString();
    });
    const lines = createInterface({ input: init.stdout });
    const ready = await Promise.race([
      new Promise<boolean>((done) => lines.once("line", () => done(true))),
      stopped.then(() => false),
    ]);
    if (!ready)
      return /No such file|does not exist/.test(complaint)
        ? "MountDisk/HCS/ERROR_FILE_NOT_FOUND"
        : "WSL_E_DISK_CORRUPTED";
    const pid = Number(readFileSync(`/proc/${init.pid}/task/${init.pid}/children`, "utf8").trim());
    const instance: Instance = {
      init,
      pid,
      relays: new Set(),
      clients: 0,
      idle: undefined,
      ending: false,
      stopped,
    };
    this.instances.set(distro.id, instance);
    void stopped.then(() => {
      if (this.instances.get(distro.id) === instance) this.#gone(distro.id);
    });
    this.#watchIdle(distro.id, instance);
    return instance;
  }

  /** Ends everything in it at once. */
  async stop(id: string): Promise<void> {
    const instance = this.instances.get(id);
    if (!instance) return;
    instance.ending = true;
    instance.init.stdin?.end();
    await instance.stopped;
    const relays = [...instance.relays];
    for (const relay of relays) relay.stdin?.destroy();
    await Promise.all(relays.map((relay) => new Promise((done) => relay.once("close", done))));
    this.#gone(id);
  }

  async shutdown(): Promise<void> {
    await Promise.all([...this.instances.keys()].map((id) => this.stop(id)));
    this.#running = false;
    clearTimeout(this.#idle);
  }

  get isRunning(): boolean {
    return this.#running;
  }

  hold(instance: Instance): void {
    instance.clients++;
    clearTimeout(instance.idle);
  }

  release(id: string, instance: Instance): void {
    instance.clients--;
    this.#watchIdle(id, instance);
  }

  #watchIdle(id: string, instance: Instance): void {
    clearTimeout(instance.idle);
    const { instanceIdleMs } = idleTimes();
    if (instance.clients > 0 || instanceIdleMs < 0) return;
    instance.idle = setTimeout(() => {
      // Its last client may have ended after it, and another one of the distro may run by now.
      if (this.instances.get(id) === instance) this.#stop(id);
    }, instanceIdleMs);
  }

  #gone(id: string): void {
    clearTimeout(this.instances.get(id)?.idle);
    this.instances.delete(id);
    const { machineIdleMs } = idleTimes();
    if (this.instances.size > 0 || machineIdleMs < 0) return;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      this.#running = false;
    }, machineIdleMs);
  }
}

/** By `.wslconfig` in the user's profile; Windows' own otherwise. */
function idleTimes(): { instanceIdleMs: number; machineIdleMs: number } {
  let text = "";
  try {
    text = readFileSync(path.join(process.env.USERPROFILE ?? "/nonexistent", ".wslconfig"), "utf8");
  } catch {
    // There is none.
  }
  const value = (key: string, otherwise: number) =>
    Number(new RegExp(`^\\s*${key}\\s*=\\s*(-?\\d+)`, "im").exec(text)?.[1] ?? otherwise);
  return {
    instanceIdleMs: value("instanceIdleTimeout", 15_000),
    machineIdleMs: value("vmIdleTimeout", 60_000),
  };
}

/** Processes that a command has left, known by the session that they were begun in. */
export function leftOf(session: string): number[] {
  const mark = `WSL_INTEROP=${session}`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(mark);
      } catch {
        return false;
      }
    });
}
