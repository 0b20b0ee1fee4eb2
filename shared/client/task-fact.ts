// A fact as clients see it: one flat object, the same from the log and from the gateway's event stream.
import { z } from "zod";
import { FACT_BODIES, FACT_KINDS, type Fact, type FactBody, type FactKind } from "../contracts/fact.ts";
import { TaskId } from "../contracts/ids.ts";

/** `sequence` is the log's, `at` the broker's time, ISO 8601; `speaker` the host, `control`, or the priority. */
export type TaskFact = {
  [Kind in FactKind]: FactBody<Kind> & {
    sequence: number;
    at: string;
    taskId: string;
    kind: Kind;
    speaker: string;
  };
}[FactKind];

const Head = z.object({
  sequence: z.int().positive(),
  at: z.iso.datetime(),
  taskId: TaskId,
  kind: z.string(),
  speaker: z.string(),
});

export function factView({ sequence, timeMs, taskId, kind, speaker, body }: Fact): TaskFact {
  const view = { ...body, sequence, at: new Date(timeMs).toISOString(), taskId, kind, speaker };
  return view as TaskFact;
}

/** Reads one event of the gateway; null for a kind that this version does not know, or cannot read. */
export function parseFactView(json: unknown): TaskFact | null {
  const head = Head.safeParse(json);
  const kind = FACT_KINDS.find((known) => known === head.data?.kind);
  if (!head.success || kind === undefined) return null;
  const body = FACT_BODIES[kind].safeParse(json);
  return body.success ? ({ ...body.data, ...head.data } as TaskFact) : null;
}
