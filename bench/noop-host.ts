// A host agent whose attempts do nothing: everything else about it is real. Tells over the bus when each
// attempt begins, so that the benchmark sees it by its own clock.

import { start } from "../services/host-agent/main.ts";
import { connectBus } from "../shared/bus/connect.ts";
import { readEnvironment } from "../shared/config/environment.ts";
import { busOptions, createLog, runService } from "../shared/service/run.ts";

const RESULT = { exitCode: 0, durationMs: 0, phases: {}, checks: [], artifacts: [] };

const environment = readEnvironment();
const bus = await connectBus(
  busOptions({ environment, log: createLog("bench-host", environment) }, "bench-host"),
);

await runService("bench-host", (context) =>
  start(context, {
    executor: async ({ order, stretch }) => {
      await stretch();
      bus.connection.publish(`bench.started.${order.taskId}`);
      return { ok: true, result: RESULT };
    },
  }),
);
