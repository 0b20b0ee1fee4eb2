// Answers `mesh.api.*`: each verb by whoever knows.
import type { Bus } from "../../shared/bus/connect.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import type { Settings } from "../../shared/config/settings.ts";
import type { ApiReply, ApiRequest, ApiVerb } from "../../shared/contracts/api.ts";
import { type Answer, answer } from "../../shared/contracts/failure.ts";
import type { TaskView } from "../../shared/contracts/task.ts";
import { cancels } from "./cancel.ts";
import { checkpoints } from "./checkpoints.ts";
import { costsOf } from "./costs.ts";
import { explain } from "./explain.ts";
import { type FleetViewPorts, fleetView } from "./fleet-view.ts";
import { known } from "./known.ts";
import type { Ledger } from "./ledger.ts";
import { operations } from "./operate.ts";
import { retries } from "./retries.ts";
import { speak } from "./speak.ts";

export type Queries = { [Verb in ApiVerb]: (request: ApiRequest<Verb>) => Promise<Answer<ApiReply<Verb>>> };

export interface QueriesPorts extends Omit<FleetViewPorts, "breakers"> {
  settings(): Settings;
}

export function queries(bus: Bus, ledger: Ledger, ports: QueriesPorts): Queries {
  const knows = known(bus, ledger);
  const { find, get, upToDate, withPush } = knows;

  async function submit(request: ApiRequest<"submit">): Promise<Answer<TaskView>> {
    const submitted = await submitTask(bus, request);
    return submitted.ok ? get(submitted.value.taskId, submitted.value.sequence) : submitted;
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
      data: await Promise.all(data.map(({ view }) => withPush(view))),
      nextCursor: page.length > data.length ? (data.at(-1)?.sequence ?? null) : null,
    });
  }

  return {
    submit,
    get: ({ taskId, minSequence }) => get(taskId, minSequence),
    list,
    cancel: cancels(bus, ledger, knows),
    async say(request) {
      const found = await find(request.taskId);
      return found.ok ? speak(bus, found.value, request) : found;
    },
    ...retries(bus, ledger, knows),
    ...checkpoints(bus),
    async explain({ taskId }) {
      const found = await find(taskId);
      return found.ok ? explain(bus, ledger, ports.pauses, found.value) : found;
    },
    async costs(request) {
      const followed = await upToDate();
      return followed.ok
        ? answer(costsOf(ledger.spending, request, ports.settings(), ports.brokerNowMs()))
        : followed;
    },
    hosts: async () => answer(fleetView({ ...ports, breakers: ledger.breakers })),
    ...operations(bus, ports.presence),
  };
}
