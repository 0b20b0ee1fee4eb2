// A machine of the simulation: its clocks and its sleep, the guest supervisors on it, and the trees that these run.
// Lease and permission are the product's own; processes and pipes are not.
import { Lease, type Stamp } from "../../services/host-agent/guest/lease.ts";
import { Permission } from "../../services/host-agent/guest/permission.ts";
import type { Choose } from "./line.ts";
import type { Rules } from "./rules.ts";
import type { Life, VirtualTime } from "./virtual-time.ts";

export const EPOCH_MS = Date.UTC(2026, 0, 1);
const ACT_MS = 500;

/** A tree of an attempt. It acts while nothing keeps it from that. */
export interface Tree {
  attemptKey: string;
  taskId: string;
  attempt: number;
  hostId: string;
  state: "running" | "frozen" | "gone";
  actsLeft: number;
}

export interface MachineOptions {
  hostId: string;
  time: VirtualTime;
  choose: Choose;
  rules: Rules;
  leaseMs: number;
  checkMs: number;
  tickMs: number;
  frozenLimitMs: number;
  onAct: (tree: Tree) => void;
}

export class Machine {
  readonly options: MachineOptions;
  /** Every tree that is not gone. */
  readonly trees = new Set<Tree>();
  asleep = false;
  /** When it last woke, ms; before that it had slept. */
  wokeAtMs = Number.NEGATIVE_INFINITY;
  #sleptMs = 0;
  #sleepingSinceMs = 0;
  #wallSkewMs = 0;

  constructor(options: MachineOptions) {
    this.options = options;
  }

  monotonicMs(): number {
    const { nowMs } = this.options.time;
    return (this.asleep ? this.#sleepingSinceMs : nowMs) - this.#sleptMs;
  }

  wallMs(): number {
    return EPOCH_MS + this.options.time.nowMs + this.#wallSkewMs;
  }

  stamp(): Stamp {
    const monotonicMs = this.monotonicMs();
    if (!this.options.rules.countsSleep) return { monotonicMs, wallMs: monotonicMs, uptimeMs: null };
    return { monotonicMs, wallMs: this.wallMs(), uptimeMs: this.options.time.nowMs };
  }

  jump(wallMs: number): void {
    this.#wallSkewMs += wallMs;
  }

  sleep(): void {
    this.asleep = true;
    this.#sleepingSinceMs = this.options.time.nowMs;
  }

  wake(): void {
    if (!this.asleep) return;
    this.asleep = false;
    this.#sleptMs += this.options.time.nowMs - this.#sleepingSinceMs;
    this.wokeAtMs = this.options.time.nowMs;
    this.options.time.release();
  }

  /** A tree begins, and acts at its pace until it is through. */
  grow(tree: Tree, through: () => void): void {
    const { time, onAct } = this.options;
    this.trees.add(tree);
    const life: Life = {
      name: `tree ${tree.attemptKey}`,
      dead: false,
      monotonicMs: () => this.monotonicMs(),
      wallMs: () => this.wallMs(),
      held: () => this.asleep,
    };
    const act = () => {
      if (tree.state === "gone") return;
      if (tree.state === "running") {
        if (tree.actsLeft-- <= 0) return through();
        onAct(tree);
      }
      time.after(life, ACT_MS, act);
    };
    time.after(life, 1, act);
  }

  end(tree: Tree): void {
    tree.state = "gone";
    this.trees.delete(tree);
  }
}

/** What the supervisor tells the agent. */
export interface ToAgent {
  tick(stamp: Stamp, stretch: string | null): void;
  frozen(attemptKey: string): void;
  thawed(attemptKey: string): void;
  /** The process ended by itself, or was ended. */
  exited(attemptKey: string, how: "exited" | "killed"): void;
  gone(attemptKey: string): void;
}

interface Group {
  permission: Permission;
  tree: Tree;
  begun: boolean;
}

let supervisors = 0;

export class Supervisor {
  readonly life: Life;
  readonly #machine: Machine;
  readonly #lease: Lease;
  readonly #groups = new Map<string, Group>();
  readonly #killed = new Set<string>();
  readonly #say: ToAgent;
  #toldStretch: string | null = null;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(machine: Machine, say: ToAgent) {
    this.#machine = machine;
    this.#say = say;
    const { time, hostId, leaseMs, checkMs, choose } = machine.options;
    this.#lease = new Lease(leaseMs, `s${++supervisors}`);
    this.life = {
      name: `supervisor of ${hostId}`,
      dead: false,
      monotonicMs: () => machine.monotonicMs(),
      wallMs: () => machine.wallMs(),
      held: () => machine.asleep,
    };
    const look = () => {
      this.check();
      // Late at times, and never later than the margin allows.
      const lateMs = [0, 600, 1_200, 1_800][choose("late check", hostId, 4, 0.05)] ?? 0;
      time.after(this.life, checkMs + lateMs, look);
    };
    time.after(this.life, 0, look);
  }

  get #stretch(): string | null {
    if (this.#machine.options.rules.lease === "for ever") return "for-ever";
    return this.#lease.look(this.#machine.stamp());
  }

  check(): void {
    const { rules, tickMs, frozenLimitMs } = this.#machine.options;
    const stretch = this.#stretch;
    const nowMs = this.#machine.monotonicMs();
    for (const [attemptKey, group] of this.#groups) {
      const { permission } = group;
      const lapsed = rules.stretches ? permission.hasLapsed(stretch) : !permission.frozen && stretch === null;
      if (lapsed && rules.freezes) {
        permission.freeze(nowMs);
        group.tree.state = "frozen";
        this.#say.frozen(attemptKey);
      }
      // Taken out: what was frozen runs on with the next lease.
      if (!rules.resumes && permission.frozen && stretch !== null) this.thaw(attemptKey, stretch);
      if (permission.frozenForMs(nowMs) > frozenLimitMs) this.kill(attemptKey);
    }
    if (stretch === this.#toldStretch && nowMs - this.#toldAtMs < tickMs) return;
    this.#toldStretch = stretch;
    this.#toldAtMs = nowMs;
    this.#say.tick(this.#machine.stamp(), stretch);
  }

  renew(stamp: Stamp): void {
    const now = this.#machine.stamp();
    this.check();
    this.#lease.renew(this.#machine.options.rules.lease === "receipt" ? now : stamp, now);
    this.check();
  }

  /** The agent has noticed a sleep. */
  lapse(): void {
    this.#lease.lapse(this.#machine.stamp());
    this.check();
  }

  exec(attemptKey: string, stretch: string, tree: Tree): void {
    const { rules } = this.#machine.options;
    this.check();
    if (this.#killed.has(attemptKey)) return this.#say.exited(attemptKey, "killed");
    const group: Group = { permission: new Permission(), tree, begun: false };
    this.#groups.set(attemptKey, group);
    const holds = this.#stretch;
    const asked = rules.stretches ? stretch : (holds ?? stretch);
    if (group.permission.begin(asked, holds)) return this.#begin(attemptKey, group);
    group.permission.freeze(this.#machine.monotonicMs());
    this.#say.frozen(attemptKey);
  }

  thaw(attemptKey: string, stretch: string): void {
    const group = this.#groups.get(attemptKey);
    const { rules } = this.#machine.options;
    if (group === undefined) return this.#say.gone(attemptKey);
    if (rules.stretches ? this.#stretch !== stretch : this.#stretch === null)
      return this.#say.frozen(attemptKey);
    group.permission.thaw(stretch);
    if (group.begun) group.tree.state = "running";
    else this.#begin(attemptKey, group);
    this.#say.thawed(attemptKey);
  }

  kill(attemptKey: string): void {
    this.#killed.add(attemptKey);
    const group = this.#groups.get(attemptKey);
    if (group !== undefined) {
      this.#groups.delete(attemptKey);
      this.#machine.end(group.tree);
      this.#say.exited(attemptKey, "killed");
    }
    this.#say.gone(attemptKey);
  }

  /** Its stdin has closed, or it was killed: everything goes with it. */
  end(together = true): void {
    this.life.dead = true;
    if (together) for (const { tree } of this.#groups.values()) this.#machine.end(tree);
  }

  #begin(attemptKey: string, group: Group): void {
    group.begun = true;
    group.tree.state = "running";
    this.#machine.grow(group.tree, () => {
      if (!this.#groups.delete(attemptKey)) return;
      this.#machine.end(group.tree);
      if (!this.life.dead) this.#say.exited(attemptKey, "exited");
    });
  }
}
