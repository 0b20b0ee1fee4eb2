// Why a task is where it is, in words: the scheduler's own view of a queued one, or what the bus keeps of the decision.
import { ask } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import type { Pauses } from "../../shared/bus/pauses.ts";
import { lastMessage } from "../../shared/bus/read.ts";
import { RECEIPTS } from "../../shared/bus/streams.ts";
import type { ApiReply } from "../../shared/contracts/api.ts";
import { PRIORITIES } from "../../shared/contracts/deploy-request.ts";
import { type Answer, answer } from "../../shared/contracts/failure.ts";
import { Outlook, outlookSubject } from "../../shared/contracts/outlook.ts";
import { Receipt, receiptSubject } from "../../shared/contracts/receipt.ts";
import type { TaskView } from "../../shared/contracts/task.ts";
import type { Ledger } from "./ledger.ts";
import type { TaskRecord } from "./record.ts";

/** The scheduler that leads has so long to tell what it makes of a task, ms. */
const OUTLOOK_MS = 1_500;

export async function explain(
  bus: Bus,
  ledger: Ledger,
  pauses: Pauses,
  record: TaskRecord,
): Promise<Answer<ApiReply<"explain">>> {
  const { view } = record;
  const { taskId } = view;
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
  const receipt = stored === null ? null : Receipt.parse(JSON.parse(Buffer.from(stored.payload).toString()));
  const queuePosition = view.state === "queued" ? position(ledger, record) : null;
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
