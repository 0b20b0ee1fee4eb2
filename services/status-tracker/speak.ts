// What somebody says to the agent of a running task, on its way to the host that runs it. Nothing of it is kept: the
// agent's events on the log of the attempt show what was heard.
import { ask } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import type { ApiReply, ApiRequest } from "../../shared/contracts/api.ts";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import { orderSubject, SayReply } from "../../shared/contracts/order.ts";
import type { TaskRecord } from "./record.ts";

export async function speak(
  bus: Bus,
  { view }: TaskRecord,
  { taskId, ...words }: ApiRequest<"say">,
): Promise<Answer<ApiReply<"say">>> {
  const { state, hostId, attempt } = view;
  if (state !== "running" || hostId === null)
    return refuse("conflict", `task ${taskId} is ${state}: only what runs can be spoken to`);
  const order = { taskId, attempt, ...words };
  const said = await ask(bus, orderSubject.build({ hostId, order: "say" }), order, SayReply);
  if (!said.ok) return said;
  switch (said.value.outcome) {
    case "said":
      return answer({ taskId, attempt, hostId });
    case "not-here":
      return refuse(
        "conflict",
        `task ${taskId} has no agent at the moment: it prepares, is checked, or ends`,
      );
    case "not-heard":
      return refuse(
        "conflict",
        words.approval === undefined
          ? `what runs for task ${taskId} takes no messages, or no more`
          : `nobody waits for the approval ${words.approval.id}`,
      );
  }
}
