// A host by hand on a real bus: its heartbeats, its answers to orders, and what it says on the log, as a test scripts
// them. It runs nothing.
import { appendFact } from "../../shared/bus/append.ts";
import { serve } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import type { FactBody, NewFact } from "../../shared/contracts/fact.ts";
import { answer } from "../../shared/contracts/failure.ts";
import { type Heartbeat, type HeldAttempt, heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import { orderSubject, RunOrder, type RunReply, StopOrder } from "../../shared/contracts/order.ts";
import { heartbeat } from "./heartbeats.ts";

type Said = "succeeded" | "faulted" | "resumed";

export interface ScriptedHost extends AsyncDisposable {
  readonly orders: RunOrder[];
  readonly stops: StopOrder[];
  /** Attempts that its heartbeats list. */
  readonly attempts: HeldAttempt[];
  beat(): Promise<void>;
  /** No heartbeat any more, and no answer. */
  fallSilent(): void;
  /** Appends `started` under the guard, as the order says. */
  begin(order: RunOrder): Promise<RunReply>;
  /** Says something about the attempt that it began last of this task; it is listed no longer if that ended it. */
  say<Kind extends Said>(taskId: string, kind: Kind, body: Partial<FactBody<Kind>>): Promise<string>;
}

interface Script {
  onRun?: (order: RunOrder, host: ScriptedHost) => Promise<RunReply>;
  beatEveryMs?: number;
  about?: Partial<Heartbeat>;
}

export const refused: RunReply = { outcome: "refused", reason: "not-ready", message: "scripted so" };

export async function startScriptedHost(
  bus: Bus,
  hostId: string,
  script: Script = {},
): Promise<ScriptedHost> {
  const { onRun = (order, host) => host.begin(order), beatEveryMs = 200, about = {} } = script;
  const claims = new Map<string, { attempt: number; nonce: string; after: number }>();
  const attempts: HeldAttempt[] = [];
  let counter = 0;
  const identity = { installation: `${hostId}-installation`, boot: 1 };
  const append = (fact: NewFact) =>
    appendFact(bus, fact, { deadlineMs: 5_000, truth: async () => answer(null) });
  const host: ScriptedHost = {
    orders: [],
    stops: [],
    attempts,
    async beat() {
      counter++;
      const said = heartbeat({ hostId, ...identity, counter, attempts: [...attempts], ...about });
      await bus.js.publish(heartbeatSubject.build({ hostId }), JSON.stringify(said), { timeout: 1_000 });
    },
    fallSilent() {
      clearInterval(timer);
      for (const subscription of subscriptions) subscription.unsubscribe();
    },
    async begin({ taskId, attempt, after, allowance }) {
      const nonce = `${hostId}-${taskId}-${attempt}`;
      attempts.push({ taskId, attempt, nonce });
      const body = { after, attempt, nonce, ...identity, counter, ...(allowance ? { allowance } : {}) };
      const said = await append({ taskId, kind: "started", speaker: hostId, body });
      if (said.outcome !== "appended") {
        forget(taskId);
        return { outcome: "refused", reason: "superseded", message: said.outcome };
      }
      claims.set(taskId, { attempt, nonce, after: said.sequence });
      return { outcome: "started", sequence: said.sequence };
    },
    async say(taskId, kind, body) {
      const said = await append({
        taskId,
        kind,
        speaker: hostId,
        body: { ...claims.get(taskId), ...DEFAULTS[kind], ...body },
      } as NewFact);
      const claim = claims.get(taskId);
      if (said.outcome === "appended" && claim !== undefined) claim.after = said.sequence;
      if (kind !== "resumed") forget(taskId);
      return said.outcome;
    },
    async [Symbol.asyncDispose]() {
      host.fallSilent();
    },
  };
  const forget = (taskId: string) => {
    const index = attempts.findIndex((held) => held.taskId === taskId);
    if (index >= 0) attempts.splice(index, 1);
  };
  const onBug = (error: unknown) => {
    throw error;
  };
  const subscriptions = [
    serve(
      bus,
      orderSubject.build({ hostId, order: "run" }),
      RunOrder,
      async (order) => {
        host.orders.push(order);
        return answer(await onRun(order, host));
      },
      { onBug },
    ),
    serve(
      bus,
      orderSubject.build({ hostId, order: "stop" }),
      StopOrder,
      (order) => {
        host.stops.push(order);
        return answer({ outcome: "stopping" });
      },
      { onBug },
    ),
  ];
  await host.beat();
  const timer = setInterval(() => void host.beat().catch(() => {}), beatEveryMs);
  return host;
}

const DEFAULTS = {
  succeeded: { result: { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts: [] } },
  faulted: { failure: { category: "host", message: "scripted so" } },
  resumed: {},
};
