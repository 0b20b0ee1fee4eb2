// What the tracker knows of tasks when it is asked: never less than the log held when the question came.
import type { Bus } from "../../shared/bus/connect.ts";
import { pushOf } from "../../shared/bus/pushes.ts";
import { lastMessage } from "../../shared/bus/read.ts";
import { TASKS } from "../../shared/bus/streams.ts";
import { factSubject, taskSubjects } from "../../shared/contracts/fact.ts";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import type { TaskView } from "../../shared/contracts/task.ts";
import type { Ledger } from "./ledger.ts";
import type { TaskRecord } from "./record.ts";

/** How long an answer may wait for the log to be followed so far, ms. */
const FOLLOW_MS = 1_500;

export interface Known {
  /** The task, having followed the log as far as it reached when the question came, if it is not known yet. */
  find(taskId: string, minSequence?: number): Promise<Answer<TaskRecord>>;
  get(taskId: string, minSequence?: number): Promise<Answer<TaskView>>;
  /** Follows the log as far as it reached when the question came: whoever has just submitted finds that task. */
  upToDate(): Promise<Answer<null>>;
  /** With what became of its patch, if that was to be pushed. */
  withPush(view: TaskView): Promise<TaskView>;
}

export function known(bus: Bus, ledger: Ledger): Known {
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

  async function upToDate(): Promise<Answer<null>> {
    const last = await lastMessage(bus, TASKS, factSubject.wildcard());
    return last === null || (await ledger.until(() => ledger.sequence >= last.sequence, FOLLOW_MS))
      ? answer(null)
      : refuse("unavailable", "the log has not been followed so far yet; ask again");
  }

  const get = async (taskId: string, minSequence?: number): Promise<Answer<TaskView>> => {
    const found = await find(taskId, minSequence);
    return found.ok ? answer(await withPush(found.value.view)) : found;
  };

  async function withPush(view: TaskView): Promise<TaskView> {
    if (view.push === null || view.state !== "succeeded") return view;
    return { ...view, push: await pushOf(bus, view.taskId) };
  }

  return { find, get, upToDate, withPush };
}
