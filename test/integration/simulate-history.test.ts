// `mesh simulate --history` on a running mesh: what ended on its log is done again, on the hosts that it has.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readHistory } from "../../services/cli/simulate/history.ts";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { runMesh } from "../support/mesh-program.ts";
import { startNats } from "../support/nats.ts";
import { startScriptedHost } from "../support/scripted-host.ts";

const ENDED = 6;
const MEBIBYTE = 1_048_576;
const RESULT = {
  exitCode: 0,
  durationMs: 1,
  phases: {},
  checks: [],
  artifacts: [],
  peakMemoryBytes: 50 * MEBIBYTE,
};

let stack: AsyncDisposableStack;
let url: string;

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  ({ url } = stack.use(await startNats()));
  const bus = stack.use(await openBus(url));
  stack.use(await startTracker(contextFor(url)));
  const over = Promise.withResolvers<void>();
  let ended = 0;
  stack.use(
    await startScriptedHost(bus, "h1", {
      about: { slots: { total: 8, free: 8 } },
      async onRun(order, host) {
        const reply = await host.begin(order);
        // The last one is still under way when its log is read.
        if (order.taskId !== "under-way")
          void host
            .say(order.taskId, "succeeded", { result: RESULT })
            .then(() => ++ended === ENDED && over.resolve());
        return reply;
      },
    }),
  );
  stack.use(await startScheduler(contextFor(url)));
  for (let number = 0; number < ENDED; number++) {
    const resources = { memoryBytes: (number + 1) * 100 * MEBIBYTE };
    await submitTask(bus, request({ taskId: `t${number}`, repository: `acme/r${number % 2}`, resources }));
  }
  await submitTask(bus, request({ taskId: "under-way" }));
  await over.promise;
});
afterAll(() => stack.disposeAsync());

describe("the history of a mesh", () => {
  it("has every task that ended, with what it asked for and used and whose it was, and the hosts", async () => {
    const { workload, hosts } = await readHistory(url);
    expect([...workload.askedBytes].sort((one, other) => one - other)).toEqual(
      Array.from({ length: ENDED }, (_, number) => (number + 1) * 100 * MEBIBYTE),
    );
    expect([...workload.usedBytes]).toEqual(Array(ENDED).fill(50 * MEBIBYTE));
    const names = [...workload.kind].map((place) => workload.kinds[place]?.repository);
    for (const name of ["acme/r0", "acme/r1"])
      expect(names.filter((one) => one === name)).toHaveLength(ENDED / 2);
    expect(hosts).toMatchObject({ data: [{ hostId: "h1", online: true }] });
  });

  it("is simulated on the hosts of the mesh, and on others that are named", async () => {
    const simulate = async (...more: string[]) => {
      const args = ["simulate", "--history", "--url", url, "--policy", "resource", "--json", "--quiet"];
      const { code, stdout, stderr } = await runMesh([...args, ...more]);
      expect(stderr).toBe("");
      expect(code).toBe(0);
      return JSON.parse(stdout);
    };
    const own = await simulate();
    expect(own.title).toContain(`${ENDED} tasks of this mesh's history on 1 machines`);
    expect(own.rows).toMatchObject([
      { decider: "omniscient", tasks: ENDED },
      { decider: "resource", tasks: ENDED, unplaced: 0 },
    ]);
    expect((await simulate("--hosts", "3x16GB")).title).toContain("on 3 machines");
  });

  it("that has no task yet is no workload, and says so", async () => {
    await using empty = new AsyncDisposableStack();
    const nats = empty.use(await startNats());
    empty.use(await startTracker(contextFor(nats.url)));
    const ended = await runMesh(["simulate", "--history", "--url", nats.url]);
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toContain("no task has ended on this mesh yet");
  });
});
