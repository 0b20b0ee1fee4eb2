// Watches one task to its end: facts and output as they come, as live progress. It must never decide what became of
// the task; the mesh tells that, and a watcher who leaves changes nothing.
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import { MeshError, viewOfEnded } from "../../../shared/client/mesh-client.ts";
import type { TaskFact } from "../../../shared/client/task-fact.ts";
import type { TaskLog } from "../../../shared/client/task-log.ts";
import type { TaskView } from "../../../shared/contracts/task.ts";
import { refused, valueOf } from "../outcome.ts";
import { EscapeStripper, plainLine } from "../terminal/plain-text.ts";
import type { Progress } from "../terminal/progress.ts";
import { formatDuration } from "../terminal/quantities.ts";

const DRAW_MS = 120;
/** A task that waits for longer than this is told why. */
const ASK_WHY_MS = 2_000;
const LAST_OUTPUT_MS = 1_500;
const SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";
const TAIL_LINES = 20;
/** In a terminal the one line tells these. */
const EXPECTED = new Set<TaskFact["kind"]>(["requested", "started", "succeeded"]);

export interface Watched {
  task: TaskView;
  /** The last lines of its output, plain. */
  tail: string[];
}

export async function watchTask(
  mesh: MeshClient,
  taskId: string,
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<Watched> {
  const since = performance.now();
  const shown = { phase: "queued", line: "" };
  const tail: string[] = [];
  let frame = 0;
  const draw = () => {
    const parts = [shown.phase, formatDuration(performance.now() - since), shown.line];
    const trouble = mesh.connected() ? "" : "connection lost, trying again · ";
    progress.draw(
      `${SPINNER[frame++ % SPINNER.length]} ${trouble}${parts.filter((part) => part !== "").join(" · ")}`,
    );
  };
  const say = (text: string) =>
    progress.say(`${formatDuration(performance.now() - since).padStart(8)}  ${text}`);
  const over = new AbortController();
  const timer = setInterval(draw, DRAW_MS);
  const why = setInterval(() => void askWhy().catch(() => {}), ASK_WHY_MS);
  const askWhy = async () => {
    if (!shown.phase.startsWith("queued")) return;
    const explained = await mesh.explain(taskId);
    if (!explained.ok || explained.value.state !== "queued") return;
    const summary = plainLine(explained.value.summary);
    if (shown.phase !== summary && !progress.live) say(summary);
    if (shown.phase.startsWith("queued"))
      shown.phase = summary.startsWith("queued") ? summary : `queued: ${summary}`;
  };
  const onLine = (line: string) => {
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
    if (line.trim() !== "") shown.line = plainLine(line);
    if (!progress.live) progress.say(`          | ${line}`);
  };
  // A host prepares while the log still decides; told in that order, it would read as a task that runs unqueued.
  const begun = Promise.withResolvers<void>();
  const output = followOutput(
    begun.promise,
    mesh,
    taskId,
    AbortSignal.any([signal, over.signal]),
    onLine,
    (phase, hostId) => {
      shown.phase = `${phase} on ${hostId}`;
      shown.line = "";
      if (!progress.live) say(shown.phase);
    },
  );
  try {
    for await (const fact of mesh.facts(taskId, { signal })) {
      const text = factText(fact);
      shown.phase = text;
      if (!progress.live || !EXPECTED.has(fact.kind)) say(text);
      if (fact.kind !== "requested") begun.resolve();
    }
    begun.resolve();
    await Promise.race([output, new Promise((done) => setTimeout(done, LAST_OUTPUT_MS))]);
    return { task: valueOf(await viewOfEnded(mesh, taskId, signal)), tail };
  } catch (error) {
    throw error instanceof MeshError ? refused(error) : error;
  } finally {
    over.abort();
    clearInterval(timer);
    clearInterval(why);
    progress[Symbol.dispose]();
  }
}

/** Output is an extra: that it cannot be had fails nobody. */
async function followOutput(
  begun: Promise<void>,
  mesh: MeshClient,
  taskId: string,
  signal: AbortSignal,
  onLine: (line: string) => void,
  onPhase: (phase: string, hostId: string) => void,
): Promise<void> {
  const lines = new Map<TaskLog["source"], { stripper: EscapeStripper; rest: string }>();
  await begun;
  try {
    for await (const { source, text, phase, hostId } of mesh.logs(taskId, { follow: true, signal })) {
      if (source === "phase") {
        onPhase(phase ?? plainLine(text), hostId);
        continue;
      }
      const state = lines.get(source) ?? { stripper: new EscapeStripper(), rest: "" };
      lines.set(source, state);
      const complete = (state.rest + state.stripper.push(text)).split("\n");
      state.rest = complete.pop() ?? "";
      for (const line of complete) onLine(line);
    }
  } catch {
    return;
  }
  for (const { rest } of lines.values()) if (rest !== "") onLine(rest);
}

/** One fact in words, plain. */
function factText(fact: TaskFact): string {
  switch (fact.kind) {
    case "requested":
      return "queued";
    case "started":
      return `attempt ${fact.attempt} begins on ${fact.speaker}${fact.placement ? ` (${plainLine(fact.placement)})` : ""}`;
    case "succeeded":
      return `succeeded on ${fact.speaker}`;
    case "faulted":
      return `attempt ${fact.attempt} faulted: ${fact.failure.category}: ${plainLine(fact.failure.message)}`;
    case "resumed":
      return `attempt ${fact.attempt} goes on: ${fact.reason ? plainLine(fact.reason) : `${fact.speaker} is back`}`;
    case "requeued":
      return `queued again (${fact.reason})`;
    case "deferred":
      return `waits ${formatDuration(fact.delayMs)} (${fact.reason})`;
    case "cancelRequested":
      return `cancellation requested: ${plainLine(fact.reason)}`;
    case "cancelled":
      return `cancelled: ${plainLine(fact.reason)}`;
    case "failed":
      return `failed: ${fact.failure.category}: ${plainLine(fact.failure.message)}`;
    case "rejected":
      return `rejected: ${plainLine(fact.message)}`;
    default:
      return fact satisfies never;
  }
}
