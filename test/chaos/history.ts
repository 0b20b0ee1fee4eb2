// What a run leaves for the checker: the log as it is at the end, what the workloads themselves wrote down, and what
// was done to the mesh. Plain data, so that a failing run can be kept and looked at again.
import type { Fact, Malformed } from "../../shared/contracts/fact.ts";
import type { TaskView } from "../../shared/contracts/task.ts";

/** One sign of life of an attempt's command, by the one clock of the machine. */
export interface Act {
  taskId: string;
  attempt: number;
  hostId: string;
  atMs: number;
}

/** What a task was made to do, and so the ends it may have. */
export type Kind = "works" | "fails" | "hangs" | "cancelled" | "poison";

export interface History {
  facts: (Fact | Malformed)[];
  acts: Act[];
  /** Requests that the mesh has acknowledged. */
  acknowledged: { taskId: string; kind: Kind }[];
  /** Sequences of the events that a client of `/v1/events` was told, in their order. */
  told: number[];
  /** Sequences of the messages that were set aside. */
  dead: number[];
  /** Tasks as the API shows them at the end. */
  shown: Pick<TaskView, "taskId" | "state" | "attempt" | "hostId">[];
  /** Processes of attempts that were there after every task had ended. */
  leftovers: string[];
  /** Hosts of which every process was stopped, and when they went on. */
  wakes: { hostId: string; atMs: number }[];
  /** When the bus came back. */
  busBackAtMs: number[];
  slots: number;
  /** Silence after which a host is called lost, ms. */
  silenceMs: number;
  /** How long a host that has just woken may take to freeze what runs, ms. */
  wakeAllowanceMs: number;
}
