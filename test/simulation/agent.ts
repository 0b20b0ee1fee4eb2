// A host agent of the simulation: the product's attempts, heartbeats and orders, with a guest across simulated pipes.
// It dies and begins again; what it has on disk stays.
import { pino } from "pino";
import type { Stamp } from "../../services/host-agent/guest/lease.ts";
import { startHeartbeats } from "../../services/host-agent/heartbeats.ts";
import { Attempts } from "../../services/host-agent/held/attempts.ts";
import type { Executor } from "../../services/host-agent/held/executor.ts";
import type { Finished } from "../../services/host-agent/held/finished.ts";
import { Voice } from "../../services/host-agent/held/voice.ts";
import { serveOrders } from "../../services/host-agent/orders.ts";
import { watchForStandstill } from "../../services/host-agent/standstill.ts";
import type { Guest } from "../../services/host-agent/supervisor/guest-keeper.ts";
import type { Thawing } from "../../services/host-agent/supervisor/supervisor-link.ts";
import { askTracker } from "../../shared/bus/append.ts";
import type { LeaseTimes } from "../../shared/contracts/lease.ts";
import { instancesOn } from "../support/instances.ts";
import type { Choose, Line } from "./line.ts";
import { type Machine, Supervisor, type Tree } from "./machine.ts";
import type { Rules } from "./rules.ts";
import type { Life, VirtualTime } from "./virtual-time.ts";

const PIPE_MS = 1;
const SUPERVISOR_RESTART_MS = 1_000;
const WORK_ACTS = 40;
/** A supervisor notices the end of its stdin after so long, ms. */
const EOF_MS = [1, 300, 1_500] as const;
/** A tree takes so long to be made, ms. */
const PREPARE_MS = [0, 3_000, 20_000, 45_000] as const;
const log = pino({ level: "silent" });

export interface AgentOptions {
  machine: Machine;
  line: Line;
  time: VirtualTime;
  choose: Choose;
  rules: Rules;
  times: LeaseTimes;
  slots: number;
}

export class Agent {
  readonly hostId: string;
  life: Life | null = null;
  stopped = false;
  attempts: Attempts | null = null;
  readonly #options: AgentOptions;
  readonly #disk = new Map<string, Finished>();
  #boot = 0;
  #supervisor: Supervisor | null = null;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.hostId = options.machine.options.hostId;
  }

  get supervisorAlive(): boolean {
    return this.#supervisor !== null && !this.#supervisor.life.dead;
  }

  start(): void {
    const { machine, line, time, rules } = this.#options;
    const life: Life = {
      name: this.hostId,
      dead: false,
      monotonicMs: () => machine.monotonicMs(),
      wallMs: () => machine.wallMs(),
      held: () => this.stopped || machine.asleep,
    };
    this.life = life;
    this.#boot++;
    // What a former life left is ended before this one says a word.
    if (rules.endsFormerLife) this.#supervisor?.end();
    const bus = line.connect(life);
    time.as(life, () => this.#begin(life, bus));
  }

  kill(): void {
    if (this.life === null) return;
    const { time, choose, line, rules } = this.#options;
    this.life.dead = true;
    this.life = null;
    this.attempts = null;
    line.disconnect();
    const supervisor = this.#supervisor;
    const eofMs = EOF_MS[choose("end of stdin", this.hostId, 3, 0.5)];
    if (rules.endsFormerLife && supervisor !== null)
      time.after(supervisor.life, eofMs ?? 1, () => supervisor.end());
  }

  killSupervisor(): void {
    this.#supervisor?.end(this.#options.rules.dieTogether);
  }

  #begin(life: Life, bus: ReturnType<Line["connect"]>): void {
    const { rules, times, slots } = this.#options;
    const { hostId } = this;
    const guest = this.#keepGuest(life);
    const started = new Set<string>();
    const moment = () => ({
      installation: `i-${hostId}`,
      boot: this.#boot,
      counter: rules.namesHeartbeat ? heartbeats.counter() : 0,
    });
    const attempts = new Attempts({
      hostId,
      voice: new Voice(bus, askTracker(bus)),
      instances: instancesOn(guest),
      executor: this.#executor(guest, started),
      tellOvertaken: () => {},
      finished: {
        keep: async (finished) => {
          if (rules.keepsFinished) this.#disk.set(finished.taskId, finished);
        },
        forget: async ({ taskId, attempt }) => {
          if (this.#disk.get(taskId)?.attempt === attempt) this.#disk.delete(taskId);
        },
        read: async () => [...this.#disk.values()],
      },
      log,
      capacity: () => ({
        slots,
        labels: {},
        versions: {},
        runners: ["command"],
        secrets: [],
        takesStrangers: false,
        cores: 8,
        diskTotalBytes: 1e12,
        diskFreeBytes: 1e12,
        memoryTotalBytes: 64e9,
        memoryAvailableBytes: 64e9,
        draining: false,
        withheld: null,
      }),
      moment,
    });
    this.attempts = attempts;
    for (const finished of this.#disk.values()) attempts.adopt(finished);
    const who = { hostId, installation: `i-${hostId}`, boot: this.#boot, since: new Date(0).toISOString() };
    const drain = () => ({ draining: false });
    serveOrders(bus, who, attempts, drain, (error) => {
      throw error;
    });
    watchForStandstill({
      everyMs: times.checkMs,
      limitMs: times.marginMs / 2,
      onGap: () => guest.freeze(),
    });
    const heartbeats = startHeartbeats({
      bus,
      hostId,
      everyMs: times.heartbeatMs,
      leaseMs: times.leaseMs,
      takeStamp: () => guest.takeStamp(),
      compose: () => {
        const { attempts: atWork, ...reserved } = attempts.reserved();
        const listed = attempts.list();
        return {
          hostId,
          installation: `i-${hostId}`,
          boot: this.#boot,
          heartbeatMs: times.heartbeatMs,
          cpu: { cores: 8, busy: 0.1, mhz: 3_000 },
          memory: { totalBytes: 64e9, availableBytes: 64e9 },
          disk: { totalBytes: 1e12, freeBytes: 1e12 },
          slots: { total: slots, free: Math.max(0, slots - atWork) },
          reserved,
          attempts: rules.listsAll ? listed : listed.filter(({ nonce }) => started.has(nonce)),
          labels: {},
          caches: [],
          runners: ["command"],
          secrets: [],
          untrusted: false,
          isolation: "sandbox",
          draining: false,
          stopping: false,
          withheld: null,
          versions: {},
        };
      },
    });
  }

  /** Prepares for a while, acts once the log allows it, and ends as chance has it. */
  #executor(guest: SimulatedGuest, started: Set<string>): Executor {
    const { choose, rules, machine } = this.#options;
    return async ({ order, attemptKey, signal, stretch }) => {
      const end = () => void guest.release(attemptKey);
      signal.addEventListener("abort", end);
      try {
        await pause(PREPARE_MS[choose("prepare", this.hostId, 4, 0.3)] ?? 0);
        const holds = rules.waitsForStarted ? await stretch() : (guest.stretch() ?? (await stretch()));
        if (signal.aborted) throw signal.reason as Error;
        started.add(attemptKey.split(".").at(-1) ?? "");
        const tree: Tree = {
          attemptKey,
          taskId: order.taskId,
          attempt: order.attempt,
          hostId: machine.options.hostId,
          state: "frozen",
          actsLeft: WORK_ACTS,
        };
        const how = await guest.run(attemptKey, holds, tree);
        if (signal.aborted) throw signal.reason as Error;
        if (how !== "exited")
          return { ok: false, failure: { category: "host", message: `the supervisor ended it: ${how}` } };
      } finally {
        signal.removeEventListener("abort", end);
      }
      const result = { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts: [] };
      switch (choose("outcome", this.hostId, 3, 0.1)) {
        case 1:
          return { ok: false, failure: { category: "agent", message: "exit 3" } };
        case 2:
          return { ok: false, failure: { category: "setup", message: "no disk" } };
        default:
          return { ok: true, result };
      }
    };
  }

  /** What `keepGuest` is to the agent: a supervisor across pipes, made anew when one has died. */
  #keepGuest(life: Life): SimulatedGuest {
    const { time, machine } = this.#options;
    const frozenListeners: ((attemptKey: string) => void)[] = [];
    const diedListeners: ((reason: string) => void)[] = [];
    const running = new Map<string, (how: "exited" | "killed" | "died") => void>();
    const used = new Set<string>();
    const gone = new Map<string, () => void>();
    const thawing = new Map<string, (thawing: Thawing) => void>();
    let tick: { stamp: Stamp; stretch: string | null } | null = null;
    let supervisor: Supervisor;

    const connect = () => {
      const toAgent = (act: () => void) => void time.after(life, PIPE_MS, act);
      const connected = new Supervisor(machine, {
        tick: (stamp, stretch) =>
          toAgent(() => {
            if (supervisor === connected) tick = { stamp, stretch };
          }),
        frozen: (attemptKey) =>
          toAgent(() => {
            const waiting = thawing.get(attemptKey);
            if (waiting) waiting("frozen");
            else for (const listener of frozenListeners) listener(attemptKey);
          }),
        thawed: (attemptKey) => toAgent(() => thawing.get(attemptKey)?.("thawed")),
        exited: (attemptKey, how) =>
          toAgent(() => {
            running.get(attemptKey)?.(how);
            running.delete(attemptKey);
          }),
        gone: (attemptKey) =>
          toAgent(() => {
            thawing.get(attemptKey)?.("gone");
            gone.get(attemptKey)?.();
          }),
      });
      supervisor = connected;
      this.#supervisor = connected;
      const watch = () =>
        time.after(life, SUPERVISOR_RESTART_MS, () => {
          if (!connected.life.dead) return watch();
          tick = null;
          for (const resolve of thawing.values()) resolve("gone");
          for (const resolve of running.values()) resolve("died");
          for (const resolve of gone.values()) resolve();
          running.clear();
          used.clear();
          for (const listener of diedListeners) listener("killed");
          connect();
        });
      watch();
    };
    connect();
    const toSupervisor = (act: (to: Supervisor) => void) => {
      const to = supervisor;
      time.after(to.life, PIPE_MS, () => act(to));
    };

    return {
      hello: () => null,
      takeStamp() {
        const to = supervisor;
        const stamp = tick?.stamp;
        return stamp === undefined ? null : () => void time.after(to.life, PIPE_MS, () => to.renew(stamp));
      },
      async firstStamp() {},
      stretch: () => tick?.stretch ?? null,
      async nextStretch(signal) {
        while (!signal.aborted) {
          if (tick !== null && tick.stretch !== null) return tick.stretch;
          await new Promise<void>((done) => setTimeout(done, 50));
        }
        return null;
      },
      useOf: () => null,
      exec() {
        throw new Error("the simulation runs trees, not programs");
      },
      run: (attemptKey, stretch, tree) =>
        new Promise((resolve) => {
          used.add(attemptKey);
          running.set(attemptKey, resolve);
          toSupervisor((to) => to.exec(attemptKey, stretch, tree));
          if (supervisor.life.dead) resolve("died");
        }),
      serve() {
        throw new Error("nothing but attempts is simulated");
      },
      clockSkewMs: () => null,
      freeze: () => toSupervisor((to) => to.lapse()),
      thaw: (attemptKey, stretch) =>
        new Promise((resolve) => {
          thawing.set(attemptKey, (thawed) => {
            thawing.delete(attemptKey);
            resolve(thawed);
          });
          if (supervisor.life.dead) return resolve("gone");
          toSupervisor((to) => to.thaw(attemptKey, stretch));
        }),
      answerAt() {},
      release: (attemptKey) =>
        new Promise((resolve) => {
          if (!used.delete(attemptKey) || supervisor.life.dead) return resolve();
          gone.set(attemptKey, () => {
            gone.delete(attemptKey);
            resolve();
          });
          toSupervisor((to) => to.kill(attemptKey));
        }),
      onFrozen: (listener) => void frozenListeners.push(listener),
      onDied: (listener) => void diedListeners.push(listener),
      async [Symbol.asyncDispose]() {},
    };
  }
}

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

interface SimulatedGuest extends Guest {
  run(attemptKey: string, stretch: string, tree: Tree): Promise<"exited" | "killed" | "died">;
}
