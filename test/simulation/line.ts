// A process's line to the bus, as its `Bus`: every call can be late, lost, or stored with its answer lost; a cut takes
// one direction or both, is noticed late, and is over with a reconnect.
import { JetStreamApiError } from "@nats-io/jetstream";
import { NoRespondersError, TimeoutError } from "nats";
import type { Bus } from "../../shared/bus/connect.ts";
import { type Fact, factSubject, type Malformed } from "../../shared/contracts/fact.ts";
import { heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import type { Broker, Expect, Responder, Stored } from "./broker.ts";
import type { Life, VirtualTime } from "./virtual-time.ts";

export type Choose = (label: string, entity: string, options: number, probability: number) => number;

const HOP_MS = 2;
const LATE_MS = 1_500;
const VERY_LATE_MS = 9_000;
/** What can happen to a call, beside nothing: late, very late, lost, its answer lost, late, very late. */
const ANSWER_MS: Record<number, number> = { 5: VERY_LATE_MS, 6: VERY_LATE_MS * 2 };
const RECONNECT_MS = 300;
/** That the bus itself is gone is noticed so soon, ms. */
export const BUS_NOTICED_MS = 1;
/** A dead link is noticed after so long, ms: by a reset, or by pings that nobody answers. */
const NOTICED_MS = [300, 4_000, 9_000] as const;
/** A reader can be behind the log for so long, ms. */
const LAGS_MS = [HOP_MS, 8_000, 20_000] as const;

export interface LineOptions {
  name: string;
  time: VirtualTime;
  broker: Broker;
  choose: Choose;
  /** Whether the leader of HOSTS tells its last heartbeat; a mutant keeps it from that. */
  finalRead: boolean;
}

type Followed = "tasks" | "hosts";

interface Follower {
  what: Followed;
  pump(): void;
}

export class Line {
  readonly name: string;
  outCut = false;
  inCut = false;
  /** Answers are under way until then, ms. */
  heldUntilMs = 0;
  readonly #time: VirtualTime;
  readonly #broker: Broker;
  readonly #choose: Choose;
  readonly #finalRead: boolean;
  #sinceMs: number | null = null;
  #life: Life | null = null;
  #cuts = 0;
  #buffered: (() => void)[] = [];
  #followers: Follower[] = [];
  #responders: Responder[] = [];

  constructor(options: LineOptions) {
    this.name = options.name;
    this.#time = options.time;
    this.#broker = options.broker;
    this.#choose = options.choose;
    this.#finalRead = options.finalRead;
  }

  get #open(): boolean {
    return !this.outCut && !this.inCut && !this.#broker.down;
  }

  /** For a new life of the process. */
  connect(life: Life): Bus {
    this.disconnect();
    this.#life = life;
    this.#sinceMs = this.#open ? life.monotonicMs() : null;
    return {
      connection: {
        options: { inboxPrefix: "_INBOX" },
        isClosed: () => false,
        isDraining: () => false,
        publish: () => {},
        request: (subject: string, payload: string, options: { timeout: number }) =>
          this.#request(life, subject, payload, options.timeout),
        subscribe: (
          subject: string,
          options: { queue?: string; callback: (error: null, message: unknown) => void },
        ) => this.#subscribe(life, subject, options),
      },
      js: {
        publish: (subject: string, payload: string, options: { expect?: Expect; timeout?: number } = {}) =>
          this.#publish(life, subject, payload, options),
      },
      connectedSince: () => this.#sinceMs,
      onReconnect: () => ({ [Symbol.dispose]: () => {} }),
      [Symbol.asyncDispose]: async () => {},
    } as unknown as Bus;
  }

  disconnect(): void {
    for (const responder of this.#responders) this.#broker.responders.delete(responder);
    this.#responders = [];
    this.#followers = [];
    this.#buffered = [];
    this.#life = null;
    this.#sinceMs = null;
  }

  /** Cut until `mend`; the bus's own death counts as one that is noticed at once. */
  cut(direction: "both" | "out" | "in" | "bus"): void {
    if (direction !== "in" && direction !== "bus") this.outCut = true;
    if (direction !== "out" && direction !== "bus") this.inCut = true;
    const cut = ++this.#cuts;
    const noticedMs =
      direction === "bus" ? BUS_NOTICED_MS : NOTICED_MS[this.#choose("notice", this.name, 3, 0.7)];
    this.#time.after(null, noticedMs ?? BUS_NOTICED_MS, () => {
      if (cut === this.#cuts && !this.#open) this.#sinceMs = null;
    });
  }

  mend(): void {
    this.outCut = false;
    this.inCut = false;
    this.#cuts++;
    this.#time.after(null, RECONNECT_MS, () => {
      const life = this.#life;
      if (!this.#open || life === null) return;
      this.#sinceMs ??= life.monotonicMs();
      // What the client had kept for later.
      for (const send of this.#buffered.splice(0)) send();
      for (const follower of this.#followers) follower.pump();
    });
  }

  /** Follows the task log from its beginning, in order. */
  followTasks(life: Life, onFact: (fact: Fact | Malformed) => void): void {
    let at = 0;
    this.#follow(life, "tasks", () => {
      for (const fact of this.#broker.factsAfter(at)) onFact(fact);
      at = this.#broker.tasks.length;
    });
  }

  /** Follows the last heartbeat of each host. */
  followHeartbeats(life: Life, onHeartbeat: (stored: Stored) => void): void {
    let at = 0;
    this.#follow(life, "hosts", () => {
      const fresh = new Map<string, Stored>();
      for (const stored of this.#broker.heartbeats.slice(at)) {
        fresh.delete(stored.subject);
        fresh.set(stored.subject, stored);
      }
      at = this.#broker.heartbeats.length;
      for (const stored of fresh.values()) onHeartbeat(stored);
    });
  }

  /** Something was stored. */
  wake(what: Followed): void {
    for (const follower of this.#followers) if (follower.what === what) follower.pump();
  }

  #follow(life: Life, what: Followed, read: () => void): void {
    let planned = false;
    const pump = () => {
      if (planned || life.dead) return;
      planned = true;
      const lagMs = LAGS_MS[this.#choose(`lag ${what}`, this.name, 3, 0.02)] ?? HOP_MS;
      this.#time.after(life, lagMs, () => {
        planned = false;
        if (this.#open) read();
      });
    };
    this.#followers.push({ what, pump });
    pump();
  }

  /** There and back again. The answer arrives in the life that asked. */
  #call<Reply>(life: Life, act: () => Reply, answered: (reply: Reply) => void): void {
    const fate = this.#choose("net", this.name, 7, 0.05);
    const arrive = () => {
      if (this.#broker.down) return;
      const reply = act();
      if (fate !== 4) this.#back(life, ANSWER_MS[fate] ?? HOP_MS, () => answered(reply));
    };
    this.#out(life, fate, arrive);
  }

  #out(life: Life, fate: number, arrive: () => void): void {
    if (fate === 3) return;
    if (this.outCut || this.#broker.down) {
      if (this.#choose("buffered", this.name, 2, 0.5) === 1)
        this.#buffered.push(() => void this.#time.after(null, HOP_MS, arrive));
      return;
    }
    const delayMs = fate === 1 ? LATE_MS : fate === 2 ? VERY_LATE_MS : HOP_MS;
    this.#time.after(null, delayMs, () => {
      // What a process has sent arrives, though it may have died since.
      if (!this.outCut || life.dead) arrive();
    });
  }

  #back(life: Life, delayMs: number, act: () => void): void {
    const heldMs = this.heldUntilMs - this.#time.nowMs;
    this.#time.after(life, Math.max(delayMs, heldMs), () => {
      if (!this.inCut && !this.#broker.down) act();
    });
  }

  #publish(
    life: Life,
    subject: string,
    payload: string,
    { expect, timeout = 5_000 }: { expect?: Expect; timeout?: number },
  ): Promise<{ seq: number }> {
    const saidAtMs = this.#time.nowMs;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new TimeoutError()), timeout);
      this.#call(
        life,
        () => this.#broker.store(subject, Buffer.from(payload), expect ?? {}, saidAtMs),
        (reply) => {
          clearTimeout(timer);
          if (reply.ok) resolve({ seq: reply.sequence });
          else reject(new JetStreamApiError({ code: 400, err_code: reply.code, description: "refused" }));
        },
      );
    });
  }

  #request(life: Life, subject: string, payload: string | Uint8Array, timeoutMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new TimeoutError()), timeoutMs);
      const answered = (reply: string | Error) => {
        clearTimeout(timer);
        if (reply instanceof Error) reject(reply);
        else resolve(messageOf(reply));
      };
      if (subject.startsWith("$JS.API.STREAM.MSG.GET."))
        return this.#call(life, () => this.#lastMessage(payload), answered);
      const fate = this.#choose("net", this.name, 7, 0.05);
      this.#out(life, fate, () => {
        if (this.#broker.down) return;
        const back = (reply: string | Error) => {
          if (fate !== 4) this.#back(life, ANSWER_MS[fate] ?? HOP_MS, () => answered(reply));
        };
        const responder = this.#responderOf(subject);
        if (responder === undefined) back(new NoRespondersError(subject));
        else responder.deliver(Buffer.from(payload), back);
      });
    });
  }

  #responderOf(subject: string): Responder | undefined {
    const found = [...this.#broker.responders].filter((responder) => responder.subject === subject);
    return found[this.#choose("responder", this.name, Math.max(1, found.length), 0.5)];
  }

  #subscribe(
    life: Life,
    subject: string,
    { queue, callback }: { queue?: string; callback: (error: null, message: unknown) => void },
  ): { unsubscribe(): void } {
    const responder: Responder = {
      subject,
      queue: queue ?? null,
      reachable: () => this.#open,
      deliver: (payload, respond) => {
        if (!this.#open) return;
        this.#time.after(life, HOP_MS, () => {
          const reply = (text: string) => {
            if (this.#open) this.#time.after(null, HOP_MS, () => respond(text));
          };
          callback(null, { ...messageOf(payload.toString()), respond: reply });
        });
      },
    };
    this.#responders.push(responder);
    this.#broker.responders.add(responder);
    return { unsubscribe: () => void this.#broker.responders.delete(responder) };
  }

  /** The server's own answer to a question for the last message of a subject. */
  #lastMessage(payload: string | Uint8Array): string {
    const { last_by_subj: subject } = JSON.parse(Buffer.from(payload).toString()) as { last_by_subj: string };
    const hostId = heartbeatSubject.parse(subject)?.hostId;
    const taskId = factSubject.parse(subject.replace(/>$/, "requested.normal"))?.taskId;
    const stored =
      hostId !== undefined
        ? this.#finalRead
          ? this.#broker.lastHeartbeat(hostId)
          : null
        : taskId !== undefined
          ? this.#broker.lastFact(taskId)
          : null;
    if (stored === null)
      return JSON.stringify({ error: { code: 404, err_code: 10_037, description: "no message found" } });
    return JSON.stringify({
      message: {
        subject: stored.subject,
        seq: stored.sequence,
        data: Buffer.from(stored.payload).toString("base64"),
        time: new Date(stored.timeMs).toISOString(),
      },
    });
  }
}

const messageOf = (text: string) => ({
  data: Buffer.from(text),
  json: () => JSON.parse(text) as unknown,
  string: () => text,
});
