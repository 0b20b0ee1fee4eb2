// The tasks that a mesh has done, from the facts on its log: what a simulation can do again under another policy or on
// other machines. Pure.
import { type DeployRequest, REQUEST_DEFAULTS, runnerOf } from "../../shared/contracts/deploy-request.ts";
import type { FoldedFact } from "../../shared/lifecycle/folded-log.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import { type Kind, kindOf, type TaskRow, type Workload, workloadOf } from "./workload.ts";

type Asked = Pick<TaskRow, "arrivalMs" | "askedBytes" | "askedCpus" | "kind">;

interface Ran {
  workMs: number;
  /** Undefined where its host could not measure it. */
  peakBytes: number | undefined;
}

export class History {
  readonly #rows: TaskRow[] = [];
  readonly #kinds: Kind[] = [];
  readonly #places = new Map<string, number>();
  readonly #asked = new Map<string, Asked>();
  readonly #beganMs = new Map<string, number>();
  readonly #ran = new Map<string, Ran>();

  /** A task took what the last of its attempts took whose host told of its end; one without such is left out. */
  apply({ fact, before, after, counted }: FoldedFact): void {
    if (!counted || fact.body === null) return;
    const { taskId, timeMs } = fact;
    if (fact.kind === "requested") {
      const { resources } = fact.body;
      this.#asked.set(taskId, {
        arrivalMs: timeMs,
        askedBytes: resources?.memoryBytes ?? REQUEST_DEFAULTS.memoryBytes,
        askedCpus: resources?.cpus ?? REQUEST_DEFAULTS.cpus,
        kind: this.#placeOf(fact.body),
      });
    } else if (fact.kind === "started") this.#beganMs.set(taskId, timeMs);
    else if (before.active && (fact.kind === "succeeded" || fact.kind === "faulted"))
      this.#ran.set(taskId, {
        workMs: Math.max(1, timeMs - (this.#beganMs.get(taskId) ?? timeMs)),
        peakBytes: fact.body.result?.peakMemoryBytes,
      });
    if (isEnd(after.state)) this.#end(taskId);
  }

  #placeOf(request: DeployRequest): number {
    const { repository, type, resources, limits } = request;
    const kind = kindOf(repository, {
      type,
      runner: runnerOf(request),
      memoryLimitBytes: limits?.memoryBytes ?? null,
      namesMemory: resources?.memoryBytes !== undefined,
    });
    const key = JSON.stringify(kind);
    const place = this.#places.get(key) ?? this.#kinds.push(kind) - 1;
    this.#places.set(key, place);
    return place;
  }

  #end(taskId: string): void {
    const asked = this.#asked.get(taskId);
    const ran = this.#ran.get(taskId);
    for (const kept of [this.#asked, this.#beganMs, this.#ran]) kept.delete(taskId);
    if (asked === undefined || ran === undefined) return;
    const { workMs, peakBytes: usedBytes = asked.askedBytes } = ran;
    this.#rows.push({ ...asked, workMs, usedBytes, usedCpus: asked.askedCpus });
  }

  workload(): Workload {
    return workloadOf(this.#rows, this.#kinds);
  }
}
