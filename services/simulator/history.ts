// The tasks that a mesh has done, from the facts on its log: what a simulation can do again under another policy or on
// other machines. Pure.
import { REQUEST_DEFAULTS } from "../../shared/contracts/task.ts";
import type { FoldedFact } from "../../shared/lifecycle/folded-log.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import { type TaskRow, type Workload, workloadOf } from "./workload.ts";

type Asked = Pick<TaskRow, "arrivalMs" | "askedBytes" | "askedCpus" | "repository">;

export class History {
  readonly #rows: TaskRow[] = [];
  readonly #repositories = new Map<string, number>();
  readonly #asked = new Map<string, Asked>();
  readonly #beganMs = new Map<string, number>();
  readonly #ranMs = new Map<string, number>();

  /** A task took as long as the last of its attempts whose host told of its end; one without such is left out. */
  apply({ fact, before, after, counted }: FoldedFact): void {
    if (!counted || fact.body === null) return;
    const { taskId, timeMs } = fact;
    if (fact.kind === "requested") {
      const { repository, resources } = fact.body;
      this.#asked.set(taskId, {
        arrivalMs: timeMs,
        askedBytes: resources?.memoryBytes ?? REQUEST_DEFAULTS.memoryBytes,
        askedCpus: resources?.cpus ?? REQUEST_DEFAULTS.cpus,
        repository: this.#placeOf(repository),
      });
    } else if (fact.kind === "started") this.#beganMs.set(taskId, timeMs);
    else if (before.active && (fact.kind === "succeeded" || fact.kind === "faulted"))
      this.#ranMs.set(taskId, timeMs - (this.#beganMs.get(taskId) ?? timeMs));
    if (isEnd(after.state)) this.#end(taskId);
  }

  #placeOf(repository: string): number {
    const place = this.#repositories.get(repository) ?? this.#repositories.size;
    this.#repositories.set(repository, place);
    return place;
  }

  #end(taskId: string): void {
    const asked = this.#asked.get(taskId);
    const ranMs = this.#ranMs.get(taskId);
    for (const kept of [this.#asked, this.#beganMs, this.#ranMs]) kept.delete(taskId);
    if (asked === undefined || ranMs === undefined) return;
    const { askedBytes: usedBytes, askedCpus: usedCpus } = asked;
    this.#rows.push({ ...asked, workMs: Math.max(1, ranMs), usedBytes, usedCpus });
  }

  workload(): Workload {
    return workloadOf(this.#rows, [...this.#repositories.keys()]);
  }
}
