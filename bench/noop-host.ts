// A host agent whose attempts do nothing: everything else about it is real. Tells over the bus when each
// attempt begins, so that the benchmark sees it by its own clock.

import { start } from "../services/host-agent/main.ts";
import { runService } from "../shared/service/run.ts";

const RESULT = { exitCode: 0, durationMs: 0, phases: {}, checks: [], artifacts: [] };

await runService("bench-host", (context) =>
  start(context, {
    executor:
      (bus) =>
      async ({ order, stretch }) => {
        await stretch();
        bus.connection.publish(`bench.started.${order.taskId}`);
        return { ok: true, result: RESULT };
      },
  }),
);
