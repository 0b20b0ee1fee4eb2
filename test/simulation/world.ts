// One run of the simulation: a mesh of simulated processes under faults that chance decides, then healed until all is
// quiet, and every invariant looked at whenever something happens. The same choices give the same run.
import type { Fact, Malformed } from "../../shared/contracts/fact.ts";
import type { LeaseTimes } from "../../shared/contracts/lease.ts";
import { isEnd, type Lifecycle } from "../../shared/lifecycle/table.ts";
import { Agent } from "./agent.ts";
import { Broker } from "./broker.ts";
import type { Choices } from "./choices.ts";
import { BUS_NOTICED_MS, Line } from "./line.ts";
import { EPOCH_MS, Machine, type Tree } from "./machine.ts";
import type { Rules } from "./rules.ts";
import { orchestrator, Service, scheduler, tracker } from "./services.ts";
import { VirtualTime } from "./virtual-time.ts";

export interface Shape {
  hosts: number;
  tasks: number;
  slots: number;
  maxAttempts: number;
}

export interface Violation {
  invariant: number;
  message: string;
  atMs: number;
}

export interface Run {
  violation: Violation | null;
  /** What happened, if it was asked for. */
  story: string[];
}

/** The product's own times, but for a tree that is frozen for good. */
const TIMES: LeaseTimes = {
  leaseMs: 12_000,
  marginMs: 3_000,
  heartbeatMs: 2_000,
  checkMs: 250,
  frozenLimitMs: 60_000,
};
const FAULTS_UNTIL_MS = 80_000;
/** After the last fault everything has so long to end. */
const QUIET_WITHIN_MS = 400_000;
const FAULT_EVERY_MS = 1_000;
const PURGE_EVERY_MS = 5_000;
/** A machine that has just woken freezes what it runs within a check and what that may be late. */
const WAKE_ALLOWANCE_MS = TIMES.checkMs + 1_800 + 10;
const SLOW_MS = 9_000;
const OFTEN = 4;
/** Events that follow from one another without end are a bug. */
const MAX_EVENTS = 300_000;

export async function simulate(
  choices: Choices,
  rules: Rules,
  shape: Shape,
  options: { tell?: boolean; often?: string[] } = {},
): Promise<Run> {
  const time = new VirtualTime();
  const story: string[] = [];
  let violation: Violation | null = null;
  const tell = (text: string) => {
    if (options.tell) story.push(`${(time.nowMs / 1_000).toFixed(3).padStart(8)} s  ${text}`);
  };
  const violated = (invariant: number, message: string) => {
    if (violation !== null) return;
    violation = { invariant, message, atMs: time.nowMs };
    tell(`INVARIANT ${invariant}: ${message}`);
  };
  const choose = (label: string, entity: string, count: number, probability: number) =>
    time.nowMs >= FAULTS_UNTIL_MS
      ? 0
      : choices.choose(
          time.nowMs,
          label,
          entity,
          count,
          options.often?.includes(label) ? probability * OFTEN : probability,
        );

  const broker = new Broker({
    wallMs: () => EPOCH_MS + time.nowMs,
    guards: rules.guards,
    purge: rules.purge,
  });
  const lines: Line[] = [];
  const line = (name: string) => {
    const made = new Line({ name, time, broker, choose, finalRead: rules.finalRead });
    lines.push(made);
    return made;
  };
  const acted = new Map<string, Tree>();
  const machines = Array.from(
    { length: shape.hosts },
    (_, index) =>
      new Machine({
        ...TIMES,
        hostId: `h${index + 1}`,
        time,
        choose,
        rules,
        tickMs: TIMES.checkMs * 2,
        onAct: (tree) => onAct(tree),
      }),
  );
  const agents = machines.map((machine) => {
    const { hostId } = machine.options;
    return new Agent({ machine, line: line(hostId), time, choose, rules, times: TIMES, slots: shape.slots });
  });
  const tasks = new Map(
    Array.from({ length: shape.tasks }, (_, index) => [`t${index + 1}`, { acknowledged: false }]),
  );
  const service = (name: string, begin: ConstructorParameters<typeof Service>[1]) =>
    new Service({ name, line: line(name), time, broker, choose, rules, times: TIMES }, begin);
  const services = [
    service("tracker-1", tracker),
    service("tracker-2", tracker),
    service("scheduler-1", scheduler),
    service("scheduler-2", scheduler),
  ];
  const asking = service("orchestrator", orchestrator(tasks, shape.maxAttempts));
  let busGoneAtMs = Number.NEGATIVE_INFINITY;
  let busBackBeforeMs = Number.NEGATIVE_INFINITY;
  let busBackAtMs = Number.NEGATIVE_INFINITY;

  broker.onStored = (fact, before, after, saidAtMs) => {
    tell(`${fact.speaker} ${fact.kind} ${fact.taskId} #${fact.sequence} ${inShort(fact)} -> ${after.state}`);
    look(fact, before, after, saidAtMs);
    for (const each of lines) each.wake("tasks");
  };
  broker.onHeartbeat = () => {
    for (const each of lines) each.wake("hosts");
  };
  for (const each of [...services, ...agents, asking]) each.start();
  faultsFrom(FAULT_EVERY_MS);
  purgeFrom(PURGE_EVERY_MS);
  time.after(null, FAULTS_UNTIL_MS, heal);

  let events = 0;
  await time.run(FAULTS_UNTIL_MS + QUIET_WITHIN_MS, () => {
    if (++events > MAX_EVENTS) violated(1, `it does not come to rest: ${MAX_EVENTS} events`);
    for (const { trees, options: of } of machines)
      if (trees.size > shape.slots)
        violated(5, `${of.hostId} holds ${trees.size} trees in ${shape.slots} slots`);
    return violation !== null || (time.nowMs > FAULTS_UNTIL_MS && isQuiet());
  });
  if (violation === null) judgeTheEnd();
  // Nobody of this run is to do anything any more.
  for (const each of [...services, ...agents, asking]) each.kill();
  return { violation, story };

  function onAct(tree: Tree): void {
    const { taskId, attempt, hostId } = tree;
    const words = `${taskId}: attempt ${attempt} on ${hostId}`;
    tell(`act ${words}`);
    const wokeAtMs = machines.find(({ options: of }) => of.hostId === hostId)?.wokeAtMs ?? 0;
    const justWoken = time.nowMs - wokeAtMs <= WAKE_ALLOWANCE_MS;
    const latest = acted.get(taskId);
    if (latest === undefined || attempt > latest.attempt) acted.set(taskId, tree);
    else if (latest.attemptKey !== tree.attemptKey && !justWoken)
      return violated(2, `${words} acts, though attempt ${latest.attempt} on ${latest.hostId} has acted`);
    const task = broker.truth.get(taskId);
    if (task === undefined || justWoken) return;
    if (task.state === "cancelled") return violated(6, `${words} acts, though the task is cancelled`);
    const nonce = tree.attemptKey.split(".").at(-1);
    if (!task.active || task.attempt !== attempt || task.nonce !== nonce)
      violated(2, `${words} acts, though the log says ${task.state}, attempt ${task.attempt}`);
  }

  function look(fact: Fact | Malformed, before: Lifecycle, after: Lifecycle, saidAtMs: number): void {
    if (isEnd(before.state) && after.state !== before.state)
      violated(3, `the end of ${fact.taskId} has changed`);
    if (before.state === "unknown" && after.state === "queued" && acted.has(fact.taskId))
      violated(4, `${fact.taskId} has been run, and begins anew`);
    if (fact.body === null || !("failure" in fact.body)) return;
    const { failure } = fact.body;
    const silent = failure?.category === "lost" && failure.message.includes("went silent");
    // What was said in the moment the bus went, by what was true until then, may arrive when it is back.
    const sinceMs = saidAtMs - (saidAtMs <= busGoneAtMs + BUS_NOTICED_MS ? busBackBeforeMs : busBackAtMs);
    if (silent && before.active && !after.active && sinceMs < TIMES.leaseMs)
      violated(9, `${before.hostId} is called silent ${sinceMs} ms after the bus is back`);
  }

  function isQuiet(): boolean {
    return (
      [...tasks].every(([taskId, { acknowledged }]) => acknowledged && hasEnded(taskId)) &&
      machines.every(({ trees }) => trees.size === 0) &&
      agents.every(({ attempts }) => attempts !== null && attempts.list().length === 0) &&
      undecodable().every(({ sequence }) => broker.dead.has(sequence))
    );
  }

  function hasEnded(taskId: string): boolean {
    return isEnd(broker.truth.get(taskId)?.state ?? "unknown");
  }

  function undecodable(): (Fact | Malformed)[] {
    return broker.tasks.map(({ fact }) => fact).filter(({ body }) => body === null);
  }

  function judgeTheEnd(): void {
    for (const [taskId, { acknowledged }] of tasks) {
      const task = broker.truth.get(taskId);
      if (!acknowledged) violated(1, `${taskId} is not acknowledged`);
      else if (!hasEnded(taskId))
        violated(1, `${taskId} has not ended: ${task?.state}, attempt ${task?.attempt} on ${task?.hostId}`);
    }
    for (const { trees, options: of } of machines)
      for (const { attemptKey, state } of trees)
        violated(6, `${of.hostId} still has ${attemptKey}, ${state}`);
    for (const { hostId, attempts } of agents)
      for (const { taskId, attempt } of attempts?.list() ?? [])
        violated(1, `${hostId} still holds attempt ${attempt} of ${taskId}`);
    for (const { sequence } of undecodable()) {
      const times = broker.dead.get(sequence) ?? 0;
      if (times !== 1) violated(8, `message ${sequence} was set aside ${times} times`);
    }
  }

  function faultsFrom(atMs: number): void {
    if (atMs >= FAULTS_UNTIL_MS) return;
    time.after(null, atMs - time.nowMs, () => {
      inject();
      faultsFrom(atMs + FAULT_EVERY_MS);
    });
  }

  function purgeFrom(atMs: number): void {
    time.after(null, atMs - time.nowMs, () => {
      broker.purge();
      purgeFrom(atMs + PURGE_EVERY_MS);
    });
  }

  function inject(): void {
    for (const [index, agent] of agents.entries()) {
      const machine = machines[index];
      if (machine === undefined) continue;
      const { hostId } = agent;
      switch (choose("host", hostId, 6, 0.02)) {
        case 1:
          kill(agent, hostId, 1_000);
          break;
        case 2:
          kill(agent, hostId, 30_000);
          break;
        case 3:
          stop(agent, hostId, 8_000);
          break;
        case 4:
          stop(agent, hostId, 28_000);
          break;
        case 5:
          if (!agent.supervisorAlive) break;
          tell(`FAULT the supervisor of ${hostId} is killed`);
          agent.killSupervisor();
          break;
        default:
          break;
      }
      cutAtTimes(lineOf(hostId), hostId, 0.05);
      const asleepMs = [0, 10_000, 32_000][choose("sleep", hostId, 3, 0.008)] ?? 0;
      if (asleepMs > 0 && !machine.asleep) {
        tell(`FAULT ${hostId} sleeps for ${asleepMs} ms`);
        machine.sleep();
        time.after(null, asleepMs, () => {
          if (machine.asleep) tell(`${hostId} wakes`);
          machine.wake();
        });
      }
      const jumpMs = [0, 40_000, -40_000, 300_000, -300_000][choose("clock", hostId, 5, 0.008)] ?? 0;
      if (jumpMs !== 0) {
        tell(`FAULT the wall clock of ${hostId} jumps by ${jumpMs} ms`);
        machine.jump(jumpMs);
      }
    }
    for (const each of services) {
      switch (choose("service", each.name, 5, 0.02)) {
        case 1:
          kill(each, each.name, 2_000);
          break;
        case 2:
          kill(each, each.name, 24_000);
          break;
        case 3:
          stop(each, each.name, 10_000);
          break;
        case 4:
          stop(each, each.name, 28_000);
          break;
        default:
          break;
      }
      cutAtTimes(each.line, each.name, 0.01);
    }
    const downMs = [0, 5_000, 32_000][choose("bus", "bus", 3, 0.006)] ?? 0;
    if (downMs > 0 && !broker.down) {
      tell(`FAULT the bus is gone for ${downMs} ms`);
      broker.down = true;
      busGoneAtMs = time.nowMs;
      busBackBeforeMs = busBackAtMs;
      for (const each of lines) each.cut("bus");
      time.after(null, downMs, busBack);
    }
  }

  function busBack(): void {
    if (!broker.down) return;
    broker.down = false;
    busBackAtMs = time.nowMs;
    tell("the bus is back");
    for (const each of lines) if (!each.outCut && !each.inCut) each.mend();
  }

  function kill(victim: Service | Agent, name: string, downMs: number): void {
    if (victim.life === null) return;
    tell(`FAULT ${name} is killed, for ${downMs} ms`);
    victim.kill();
    time.after(null, downMs, () => start(victim, name));
  }

  function start(victim: Service | Agent, name: string): void {
    if (victim.life !== null) return;
    const machine = machines.find(({ options: of }) => of.hostId === name);
    if (machine?.asleep) return void time.after(null, 1_000, () => start(victim, name));
    tell(`${name} begins again`);
    victim.stopped = false;
    victim.start();
  }

  function stop(victim: Service | Agent, name: string, forMs: number): void {
    if (victim.stopped || victim.life === null) return;
    const { life } = victim;
    tell(`FAULT ${name} stands still for ${forMs} ms`);
    victim.stopped = true;
    time.after(null, forMs, () => {
      if (victim.life !== life) return;
      tell(`${name} goes on`);
      victim.stopped = false;
      time.release();
    });
  }

  function lineOf(name: string): Line {
    const found = lines.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no line ${name}`);
    return found;
  }

  function cutAtTimes(of: Line, name: string, probability: number): void {
    const slow = choose("slow answers", name, 3, probability / 4);
    const fate = choose("cut", name, 7, probability);
    if (slow + fate === 0 || of.outCut || of.inCut) return;
    if (slow > 0) {
      tell(`FAULT answers to ${name} take ${SLOW_MS} ms`);
      of.heldUntilMs = time.nowMs + SLOW_MS;
      if (slow === 2) return;
    }
    const direction = slow > 0 ? "out" : ((["both", "out", "in"] as const)[(fate - 1) % 3] ?? "both");
    const forMs = slow === 0 && fate <= 3 ? 8_000 : 28_000;
    tell(`FAULT ${name} is cut off (${direction}) for ${forMs} ms`);
    of.cut(direction);
    time.after(null, forMs, () => {
      if (of.outCut || of.inCut) tell(`${name} is connected again`);
      of.mend();
    });
  }

  function heal(): void {
    tell("ALL FAULTS ARE OVER");
    busBack();
    for (const each of lines) each.mend();
    for (const machine of machines) machine.wake();
    for (const each of [...services, ...agents]) {
      each.stopped = false;
      if (each.life === null) each.start();
    }
    time.release();
  }
}

function inShort(fact: Fact | Malformed): string {
  if (fact.body === null) return fact.problem;
  const { body } = fact;
  return [
    "attempt" in body ? `attempt ${body.attempt}` : "",
    "failure" in body && body.failure ? `(${body.failure.category}: ${body.failure.message})` : "",
  ].join(" ");
}
