// Carries out what `decide` decides: on every fact that touches a task, and by a sweep over all that are
// unfinished, which finds again whatever an event has missed.

import type { Logger } from "pino";
import { appendFact } from "../../shared/bus/append.ts";
import { ask } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import type { StandingWish } from "../../shared/bus/host-wishes.ts";
import { lastMessage } from "../../shared/bus/read.ts";
import { HOST_KEPT_MS, HOSTS } from "../../shared/bus/streams.ts";
import type { RetryTable } from "../../shared/config/retry-table.ts";
import type { Settings } from "../../shared/config/settings.ts";
import { answer } from "../../shared/contracts/failure.ts";
import { decodeHeartbeat, type Heartbeat, heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import { type LeaseTimes, silenceMs } from "../../shared/contracts/lease.ts";
import { orderSubject, type StopOrder, StopReply } from "../../shared/contracts/order.ts";
import { decide, type Situation } from "./decide.ts";
import type { Ledger } from "./ledger.ts";
import type { Presence } from "./presence.ts";
import type { TaskRecord } from "./record.ts";

const APPEND_MS = 5_000;
const STOP_REPLY_MS = 2_000;
/** A stop order is repeated until the attempt's end is on the log. */
const STOP_EVERY_MS = 1_000;

export interface CaretakerOptions {
  bus: Bus;
  ledger: Ledger;
  presence: Presence;
  times: LeaseTimes;
  log: Logger;
  retries(): RetryTable;
  leads(): boolean;
  random(): number;
  settings(): Settings;
  /** By host. */
  wishes: ReadonlyMap<string, StandingWish>;
  /** The clock that the times of facts are compared with, ms since the epoch. */
  brokerNowMs(): number;
}

export class Caretaker {
  readonly #options: CaretakerOptions;
  /** Tasks about which an append is under way. */
  readonly #speaking = new Set<string>();
  readonly #stoppedAtMs = new Map<string, number>();
  /** Hosts whose silence the leader of HOSTS has confirmed, and when, ms. */
  readonly #silentSinceMs = new Map<string, number>();
  readonly #reading = new Set<string>();
  readonly #sweep: NodeJS.Timeout;
  #sweptAtMs = performance.now();

  constructor(options: CaretakerOptions) {
    this.#options = options;
    this.#sweep = setInterval(() => this.sweep(), options.times.checkMs);
  }

  stop(): void {
    clearInterval(this.#sweep);
  }

  sweep(): void {
    const { ledger, presence, times, bus } = this.#options;
    const nowMs = performance.now();
    const since = bus.connectedSince();
    // It was itself stopped, or the bus was away, if only between two sweeps: the grace begins again.
    if (nowMs - this.#sweptAtMs > times.marginMs || since === null || since > this.#sweptAtMs)
      presence.startGrace(nowMs);
    this.#sweptAtMs = nowMs;
    presence.forgetBefore(nowMs - HOST_KEPT_MS);
    if (since === null) return;
    for (const taskId of ledger.active.keys()) this.look(taskId);
  }

  /** Does what is due about one task now. */
  look(taskId: string): void {
    const { ledger, bus, leads, random, settings, wishes, brokerNowMs, retries } = this.#options;
    const record = ledger.active.get(taskId);
    if (record === undefined || this.#speaking.has(taskId) || !leads() || bus.connectedSince() === null)
      return;
    const decision = decide(record, {
      brokerNowMs: brokerNowMs(),
      lost: this.#lost(record),
      takesStrangers: this.#options.presence.mayTakeStrangers(performance.now()),
      chance: random(),
      settings: settings(),
      emptyAtMs: wishes.get(record.lifecycle.hostId ?? "")?.emptyAtMs ?? null,
      retries: retries(),
      supersededBy: ledger.overtaken.get(taskId) ?? null,
    });
    if (decision.act === "say") void this.#say(taskId, decision.fact);
    else if (decision.act === "stop") void this.#stop(decision.hostId, decision.order);
  }

  #lost({ view, lifecycle }: TaskRecord): Situation["lost"] {
    if (!lifecycle.active || lifecycle.hostId === null) return null;
    const nowMs = performance.now();
    const gone = this.#options.presence.gone(view.taskId, lifecycle, nowMs);
    if (gone !== "silent") {
      this.#silentSinceMs.delete(lifecycle.hostId);
      return gone;
    }
    // A confirmation holds for the moment: it was asked for after the silence was complete.
    const confirmedAtMs = this.#silentSinceMs.get(lifecycle.hostId);
    if (confirmedAtMs !== undefined && nowMs - confirmedAtMs < this.#options.times.marginMs) return "silent";
    void this.#confirmSilence(lifecycle.hostId);
    return null;
  }

  /** Asks the leader of HOSTS whether the host has said something that was not delivered yet. */
  async #confirmSilence(hostId: string): Promise<void> {
    if (this.#reading.has(hostId)) return;
    this.#reading.add(hostId);
    try {
      const { bus, presence, times } = this.#options;
      const known = presence.hosts.get(hostId);
      const last = await lastMessage(bus, HOSTS, heartbeatSubject.build({ hostId }));
      const heard = last === null ? null : decodeHeartbeat(last.subject, last.payload);
      const nowMs = performance.now();
      if (last === null || heard === null) this.#silentSinceMs.set(hostId, nowMs);
      else if (heard.heartbeat === null) {
        const ageMs = this.#options.brokerNowMs() - last.timeMs;
        if (ageMs > silenceMs(times)) this.#silentSinceMs.set(hostId, nowMs);
        else presence.hearUnreadable(hostId, nowMs);
      } else if (known !== undefined && isSame(heard.heartbeat, known.heartbeat))
        this.#silentSinceMs.set(hostId, nowMs);
      else presence.hear(heard.heartbeat, last.timeMs, nowMs);
    } catch {
      // The bus did not answer: nobody is declared dead on that.
    } finally {
      this.#reading.delete(hostId);
    }
  }

  async #say(taskId: string, fact: Parameters<typeof appendFact>[1]): Promise<void> {
    const { bus, log, ledger } = this.#options;
    const since = bus.connectedSince();
    this.#speaking.add(taskId);
    try {
      const said = await appendFact(bus, fact, {
        deadlineMs: APPEND_MS,
        truth: async () => answer(null),
        // The bus was away: who was silent before may be back, and has a grace.
        holds: () => bus.connectedSince() === since,
      });
      if (said.outcome === "appended") {
        log.info({ taskId, fact: fact.kind, ...fact.body }, fact.kind);
        await ledger.until(() => ledger.sequence >= said.sequence, APPEND_MS);
      } else
        log.info({ taskId, fact: fact.kind, outcome: said.outcome }, "not said: decided anew from the log");
    } finally {
      this.#speaking.delete(taskId);
    }
    this.look(taskId);
  }

  async #stop(hostId: string, order: StopOrder): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - (this.#stoppedAtMs.get(order.taskId) ?? Number.NEGATIVE_INFINITY) < STOP_EVERY_MS) return;
    this.#stoppedAtMs.set(order.taskId, nowMs);
    // What came of it shows on the log, or in the host's heartbeats.
    await ask(
      this.#options.bus,
      orderSubject.build({ hostId, order: "stop" }),
      order,
      StopReply,
      STOP_REPLY_MS,
    );
  }

  forget(taskId: string): void {
    this.#stoppedAtMs.delete(taskId);
  }
}

const isSame = (one: Heartbeat, other: Heartbeat): boolean =>
  one.installation === other.installation && one.boot === other.boot && one.counter === other.counter;
