// Answers `mesh.api.*`: what is true of tasks and hosts, and wishes about them, which become facts.
import { appendFact } from "../../shared/bus/append.ts";
import { ask } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import type { Pauses } from "../../shared/bus/pauses.ts";
import { lastMessage } from "../../shared/bus/read.ts";
import { RECEIPTS, TASKS } from "../../shared/bus/streams.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import type {
  ApiReply,
  ApiRequest,
  ApiVerb,
  BreakerView,
  CancelRequest,
  HostView,
} from "../../shared/contracts/api.ts";
import { factSubject, taskSubjects } from "../../shared/contracts/fact.ts";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import { CONTROL } from "../../shared/contracts/ids.ts";
import { Outlook, outlookSubject } from "../../shared/contracts/outlook.ts";
import { Receipt, receiptSubject } from "../../shared/contracts/receipt.ts";
import { PRIORITIES, type TaskView } from "../../shared/contracts/task.ts";
import type { HostWish } from "../../shared/contracts/wish.ts";
import type { Guarded } from "../../shared/lifecycle/breakers.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import type { Ledger } from "./ledger.ts";
import { operations } from "./operate.ts";
import type { Presence } from "./presence.ts";
import type { TaskRecord } from "./record.ts";
import { retries } from "./retries.ts";
import { speak } from "./speak.ts";

/** How long an answer may wait for the log to be followed so far, ms. */
const FOLLOW_MS = 1_500;
const CANCEL_MS = 5_000;
/** The scheduler that leads has so long to tell what it makes of a task, ms. */
const OUTLOOK_MS = 1_500;

export type Queries = { [Verb in ApiVerb]: (request: ApiRequest<Verb>) => Promise<Answer<ApiReply<Verb>>> };

export function queries(
  bus: Bus,
  ledger: Ledger,
  presence: Presence,
  wishes: ReadonlyMap<string, HostWish>,
  pauses: Pauses,
  { brokerNowMs, notices }: { brokerNowMs(): number; notices(): string[] },
): Queries {
  /** The task, having followed the log as far as it reached when the question came, if it is not known yet. */
  async function find(taskId: string, minSequence = 0): Promise<Answer<TaskRecord>> {
    let record = await ledger.find(taskId);
    if (record === null) {
      const last = await lastMessage(bus, TASKS, taskSubjects(taskId));
      if (last === null) return refuse("not_found", `no task ${taskId} is known`);
      minSequence = Math.max(minSequence, last.sequence);
    }
    if ((record?.lifecycle.lastSequence ?? 0) < minSequence) {
      await ledger.until(
        () => (ledger.active.get(taskId)?.lifecycle.lastSequence ?? ledger.sequence) >= minSequence,
        FOLLOW_MS,
      );
      record = await ledger.find(taskId);
    }
    if (record !== null && record.lifecycle.lastSequence >= minSequence) return answer(record);
    const there = (await lastMessage(bus, TASKS, taskSubjects(taskId)))?.sequence ?? 0;
    return there < minSequence
      ? refuse("conflict", `the log of task ${taskId} ends at ${there}: what came after that is gone`)
      : refuse("unavailable", `the log has not been followed so far yet; ask for task ${taskId} again`);
  }

  /** Follows the log as far as it reached when the question came: whoever has just submitted finds that task. */
  async function upToDate(): Promise<Answer<null>> {
    const last = await lastMessage(bus, TASKS, factSubject.wildcard());
    return last === null || (await ledger.until(() => ledger.sequence >= last.sequence, FOLLOW_MS))
      ? answer(null)
      : refuse("unavailable", "the log has not been followed so far yet; ask again");
  }

  const get = async (taskId: string, minSequence?: number): Promise<Answer<TaskView>> => {
    const found = await find(taskId, minSequence);
    return found.ok ? answer(found.value.view) : found;
  };

  async function submit(request: ApiRequest<"submit">): Promise<Answer<TaskView>> {
    const submitted = await submitTask(bus, request);
    return submitted.ok ? get(submitted.value.taskId, submitted.value.sequence) : submitted;
  }

  /** Says that the task is to be cancelled, again after whatever was said in between. */
  async function cancelOne(taskId: string, reason: string): Promise<Answer<boolean>> {
    const deadline = performance.now() + CANCEL_MS;
    let minSequence = 0;
    while (performance.now() < deadline) {
      const found = await find(taskId, minSequence);
      if (!found.ok) return found;
      const { lifecycle, view } = found.value;
      if (isEnd(lifecycle.state)) return answer(view.state === "cancelled");
      if (lifecycle.state === "cancelling") return answer(true);
      if (lifecycle.state !== "unknown") {
        const said = await appendFact(
          bus,
          {
            taskId,
            kind: "cancelRequested",
            speaker: CONTROL,
            body: { after: lifecycle.lastSequence, reason },
          },
          { deadlineMs: CANCEL_MS, truth: async () => answer(null) },
        );
        if (said.outcome === "appended") return answer(true);
      }
      minSequence = lifecycle.lastSequence + 1;
    }
    return refuse(
      "unavailable",
      `the wish to cancel task ${taskId} could not be put on the log; send it again`,
    );
  }

  async function cancel(request: CancelRequest): Promise<Answer<ApiReply<"cancel">>> {
    const reason = request.reason ?? "cancelled on request";
    if ("taskId" in request) {
      const cancelled = await cancelOne(request.taskId, reason);
      if (!cancelled.ok) return cancelled;
      if (!cancelled.value)
        return refuse("conflict", `task ${request.taskId} has ended: there is nothing to cancel`);
      return answer({ cancelled: [request.taskId] });
    }
    const followed = await upToDate();
    if (!followed.ok) return followed;
    const updatedAtMs =
      "updatedAt" in request && request.updatedAt ? Date.parse(request.updatedAt) : Number.POSITIVE_INFINITY;
    const prNumber = "prNumber" in request ? request.prNumber : null;
    const meant = [...ledger.active.values()].filter(
      ({ view, pullRequestUpdatedAtMs }) =>
        view.repository.toLowerCase() === request.repository.toLowerCase() &&
        (prNumber === null || view.prNumber === prNumber) &&
        (pullRequestUpdatedAtMs === null || pullRequestUpdatedAtMs <= updatedAtMs),
    );
    const outcomes = await Promise.all(
      meant.map(async ({ view }) => ({ taskId: view.taskId, said: await cancelOne(view.taskId, reason) })),
    );
    const failed = outcomes.find(({ said }) => !said.ok && said.error.code !== "not_found");
    if (failed && !failed.said.ok) return failed.said;
    return answer({
      cancelled: outcomes.flatMap(({ taskId, said }) => (said.ok && said.value ? [taskId] : [])),
    });
  }

  async function list(request: ApiRequest<"list">): Promise<Answer<ApiReply<"list">>> {
    const followed = await upToDate();
    if (!followed.ok) return followed;
    const page = ledger
      .newestFirst()
      .filter(
        ({ view, sequence }) =>
          (request.cursor === undefined || sequence < request.cursor) &&
          (request.state === undefined || view.state === request.state) &&
          (request.repository === undefined || view.repository === request.repository) &&
          (request.prNumber === undefined || view.prNumber === request.prNumber),
      );
    const data = page.slice(0, request.limit);
    return answer({
      data: data.map(({ view }) => view),
      nextCursor: page.length > data.length ? (data.at(-1)?.sequence ?? null) : null,
    });
  }

  async function explain(taskId: string): Promise<Answer<ApiReply<"explain">>> {
    const found = await find(taskId);
    if (!found.ok) return found;
    const { view } = found.value;
    const outlook =
      view.state === "queued"
        ? await ask(bus, outlookSubject.build({}), { taskId }, Outlook, OUTLOOK_MS)
        : null;
    if (outlook?.ok)
      return answer({
        taskId,
        state: view.state,
        ...outlookInWords(outlook.value, pauses.holding(view.repository)),
      });
    // Nobody leads the schedulers, or the task has just left the queue: what the bus keeps has to do.
    const stored = await lastMessage(bus, RECEIPTS, receiptSubject.build({ taskId }));
    const receipt =
      stored === null ? null : Receipt.parse(JSON.parse(Buffer.from(stored.payload).toString()));
    const queuePosition = view.state === "queued" ? position(ledger, found.value) : null;
    return answer({
      taskId,
      state: view.state,
      queuePosition,
      receipt,
      candidates: [],
      wouldRun: null,
      etaMs: null,
      usual: null,
      summary: inWords(view, receipt, queuePosition, pauses.holding(view.repository)),
    });
  }

  function breakerOf(guarded: Guarded, name: string): BreakerView | null {
    const breaker = ledger.breakers.state(guarded, name, brokerNowMs());
    if (breaker === null) return null;
    const { state, why, probe, sinceMs, probeAtMs } = breaker;
    const [since, nextProbeAt] = [new Date(sinceMs).toISOString(), new Date(probeAtMs).toISOString()];
    return { state, since, why, nextProbeAt, probe };
  }

  const repositoryBreakers = () =>
    [...ledger.breakers.notClosed("repository")].flatMap((repository) => {
      const breaker = breakerOf("repository", repository);
      return breaker === null ? [] : [{ repository, ...breaker }];
    });

  function hosts(): HostView[] {
    const nowMs = performance.now();
    return [...presence.hosts.values()]
      .map((host) => ({
        ...host.heartbeat,
        online: presence.isOnline(host, nowMs),
        lastSeenAt: new Date(host.timeMs).toISOString(),
        wish: wishes.get(host.heartbeat.hostId) ?? null,
        breaker: breakerOf("host", host.heartbeat.hostId),
      }))
      .sort((one, other) => one.hostId.localeCompare(other.hostId));
  }

  return {
    submit,
    get: ({ taskId, minSequence }) => get(taskId, minSequence),
    list,
    cancel,
    async say(request) {
      const found = await find(request.taskId);
      return found.ok ? speak(bus, found.value, request) : found;
    },
    ...retries(bus, ledger, { find, get, upToDate }),
    explain: ({ taskId }) => explain(taskId),
    hosts: async () =>
      answer({
        data: hosts(),
        pauses: pauses.all(),
        breakers: repositoryBreakers(),
        notices: notices(),
      }),
    ...operations(bus, presence),
  };
}

function position(ledger: Ledger, record: TaskRecord): number {
  const rank = (other: TaskRecord) => PRIORITIES.indexOf(other.view.priority);
  let ahead = 0;
  for (const other of ledger.active.values())
    if (
      other.view.state === "queued" &&
      (rank(other) < rank(record) || (rank(other) === rank(record) && other.sequence < record.sequence))
    )
      ahead++;
  return ahead + 1;
}

function outlookInWords(outlook: Outlook, pause: string | null) {
  const { position: queuePosition, receipt, candidates, wouldRun, etaMs, usual } = outlook;
  const why = pause ?? `${receipt.summary}${wouldRun === null ? "" : `; ${wouldRun}`}`;
  const summary = `queued, number ${queuePosition}: ${why}`;
  return { queuePosition, receipt, candidates, wouldRun, etaMs, usual, summary };
}

function inWords(
  view: TaskView,
  receipt: Receipt | null,
  queuePosition: number | null,
  pause: string | null,
): string {
  if (view.state === "queued") {
    const place = `queued, number ${queuePosition}`;
    // Known here before the scheduler has written it down, and of every task, not only of the first ones.
    if (pause !== null) return `${place}: ${pause}`;
    return receipt === null || receipt.hostId !== null
      ? `${place}; no host has been asked yet`
      : `${place}: ${receipt.summary}`;
  }
  if (view.state === "waiting") return `waits: ${view.reason}`;
  if (view.attempt === 0) return `${view.state}: it was on no host${view.reason ? ` (${view.reason})` : ""}`;
  const where = `${view.state}: attempt ${view.attempt} on ${view.hostId}`;
  return receipt?.hostId === view.hostId ? `${where}, because ${receipt?.summary}` : where;
}
