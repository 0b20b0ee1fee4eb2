// Whether a task may begin at all, hosts apart: nobody holds its repository up, no breaker is open, its repository has
// no more under way than it may have, and every budget has enough left. It decides nothing about hosts with room.
import { type RepositoryRules, ruleOf, type Settings } from "../../shared/config/settings.ts";
import type { Breakers, Guarded } from "../../shared/lifecycle/breakers.ts";
import type { Budgets } from "./budgets.ts";
import type { HeldUp } from "./explain.ts";
import type { Fleet } from "./fleet.ts";
import type { QueueEntry } from "./queue-entry.ts";

export interface LeavePorts {
  settings(): Settings;
  breakers: Breakers;
  budgets: Budgets;
  /** Why an operator holds the repository's tasks up, in words; null if none does. */
  held(repository: string): string | null;
}

/** What a host is being asked for, of which the log shows nothing yet. */
export interface Asked {
  hostId: string;
  repository: string;
}

export class Leave {
  readonly #fleet: Fleet;
  readonly #asking: ReadonlyMap<string, Asked>;
  readonly #ports: LeavePorts;

  constructor(fleet: Fleet, asking: ReadonlyMap<string, Asked>, ports: LeavePorts) {
    this.#fleet = fleet;
    this.#asking = asking;
    this.#ports = ports;
  }

  /** Which hosts, or repositories, have an open breaker. */
  barred(guarded: Guarded, brokerNowMs: number): Set<string> {
    const barred = new Set<string>();
    for (const name of this.#ports.breakers.notClosed(guarded))
      if (this.isBarred(guarded, name, brokerNowMs)) barred.add(name);
    return barred;
  }

  /**
   * Which repositories may have something placed (not held up, no open breaker, fewer attempts than they may have), and
   * which tasks every budget has enough left for.
   */
  now(brokerNowMs: number) {
    const barred = this.barred("repository", brokerNowMs);
    const settings = this.#ports.settings();
    const rules = settings["placement.repositories"];
    const affords = (task: QueueEntry) => this.#ports.budgets.affords(task, settings, brokerNowMs);
    const admits = (repository: string) =>
      this.#ports.held(repository) === null &&
      !barred.has(repository) &&
      !this.#isAtItsLimit(repository, rules);
    const mayBegin = (task: QueueEntry) => admits(task.repository) && affords(task);
    return { barred, rules, admits, affords, mayBegin };
  }

  /** Its breaker is open, or its one probe is under way or being asked for. */
  isBarred(guarded: Guarded, name: string, brokerNowMs: number): boolean {
    const breaker = this.#ports.breakers.state(guarded, name, brokerNowMs);
    if (breaker === null) return false;
    if (breaker.state === "open" || breaker.probe !== null) return true;
    for (const { hostId, repository } of this.#asking.values())
      if ((guarded === "host" ? hostId : repository) === name) return true;
    return false;
  }

  /** Why the task is not placed now; null if that is only for want of a host. */
  heldUp(task: QueueEntry, brokerNowMs: number): HeldUp | null {
    const settings = this.#ports.settings();
    const words = this.#repositoryInWords(task.repository, settings["placement.repositories"], brokerNowMs);
    if (words !== null) return { words, wouldRun: null, inMs: null };
    return this.#ports.budgets.tooMuch(task, settings, brokerNowMs);
  }

  #isAtItsLimit(repository: string, rules: RepositoryRules): boolean {
    const { atOnce } = ruleOf(repository, rules);
    return atOnce !== null && this.#fleet.runningOf(repository) >= atOnce;
  }

  /** Why none of its tasks is placed now. */
  #repositoryInWords(repository: string, rules: RepositoryRules, brokerNowMs: number): string | null {
    const held = this.#ports.held(repository);
    if (held !== null) return held;
    const breaker = this.#ports.breakers.state("repository", repository, brokerNowMs);
    if (breaker === null)
      return this.#isAtItsLimit(repository, rules)
        ? `repository ${repository} has as many attempts under way as it may have at once (${ruleOf(repository, rules).atOnce})`
        : null;
    const then = breaker.probe === null ? `after ${new Date(breaker.probeAtMs).toISOString()}` : "under way";
    return `repository ${repository} has an open breaker (${breaker.why}); probe ${then}`;
  }
}
