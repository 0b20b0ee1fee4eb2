// What becomes of an attempt whose workspace somebody wants to look at, where it cannot be kept.
import { pino } from "pino";
import { expect, it } from "vitest";
import { keepWorkspace } from "../../services/host-agent/attempt/keep-workspace.ts";
import type { Work } from "../../services/host-agent/held/executor.ts";
import { createRedactor } from "../../services/host-agent/redaction.ts";
import type { Bus } from "../../shared/bus/connect.ts";

it("an attempt ends as it would have, though its workspace cannot be kept", async () => {
  let asked = 0;
  const work = {
    attemptKey: "t.1.n",
    order: { taskId: "t", attempt: 1, request: { keepWorkspace: true, repository: "r", sha: "a" } },
    machine: {
      guest: { async release() {} },
      workspaces: {
        async keep() {
          asked++;
          throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
        },
      },
    },
  } as unknown as Work;
  const options = {
    bus: { connectedSince: () => null } as unknown as Bus,
    hostId: "h",
    redactor: createRedactor([]),
    log: pino({ enabled: false }),
  };
  await keepWorkspace(options, work, { category: "gate", message: "gate tests `make` exited 2" });
  expect(asked).toBe(1);
});
