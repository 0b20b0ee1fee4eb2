// Requests that arrive twice, late, or in another order than they were made, with cancels between them: on a real bus,
// with two trackers, as several webhooks and clients send them.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { factsOfTask } from "../../shared/bus/read.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { startNats } from "../support/nats.ts";

const DEADLINE = { timeout: 30_000, interval: 20 };

let stack: AsyncDisposableStack;
let one: Bus;
let other: Bus;
beforeAll(async () => {
  stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  one = stack.use(await openBus(nats.url));
  other = stack.use(await openBus(nats.url));
  for (let number = 0; number < 2; number++) stack.use(await startTracker(contextFor(nats.url)));
});
afterAll(() => stack.disposeAsync());

/** Three at once: by two connections, and by the API. */
const thrice = (wanted: DeployRequest) =>
  Promise.all([submitTask(one, wanted), submitTask(other, wanted), askApi(one, "submit", wanted)]);

const stateOf = async (taskId: string) => {
  const task = await askApi(one, "get", { taskId });
  return task.ok ? task.value.state : task.error.code;
};
const kindsOf = async (taskId: string) => (await factsOfTask(one, taskId)).map(({ kind }) => kind);

describe("the commits of a pull request, each asked for three times", () => {
  it.each([["01234"], ["43210"], ["40312"], ["14023"], ["34201"]])(
    "in the order %s leave the newest standing, and the others overtaken by it or by what came before",
    async (order) => {
      const commits = order.split("").map((digit) => ({
        wanted: request({
          taskId: `pr-${order}-${digit}`,
          repository: `acme/order-${order}`,
          prNumber: 7,
          sha: digit.repeat(40),
          pullRequestUpdatedAt: new Date(1_700_000_000_000 + Number(digit) * 60_000).toISOString(),
        }),
        isNewest: digit === "4",
        taskId: `pr-${order}-${digit}`,
      }));
      for (const { wanted } of commits) {
        const answers = await thrice(wanted);
        for (const answer of answers) expect(answer).toMatchObject({ ok: true });
      }
      // Again, when all are known: late news of what is on the log is no news.
      await Promise.all(commits.map(({ wanted }) => thrice(wanted)));
      for (const { taskId, isNewest } of commits) {
        if (!isNewest) await vi.waitUntil(async () => (await stateOf(taskId)) === "cancelled", DEADLINE);
        expect(await kindsOf(taskId)).toEqual(
          isNewest ? ["requested"] : ["requested", "cancelRequested", "cancelled"],
        );
      }
    },
  );
});

describe("a request that is sent again and again, with cancels between", () => {
  it("is one task that is cancelled once, and no request that comes later brings it back", async () => {
    const wanted = request({ taskId: "again" });
    expect(await askApi(one, "cancel", { taskId: "again" })).toMatchObject({ error: { code: "not_found" } });
    await submitTask(one, wanted);
    const cancel = () => askApi(other, "cancel", { taskId: "again" }, 10_000);
    const rounds = await Promise.all([thrice(wanted), cancel(), thrice(wanted), cancel(), thrice(wanted)]);
    for (const answer of rounds.flat()) expect(answer).toMatchObject({ ok: true });
    await vi.waitUntil(async () => (await stateOf("again")) === "cancelled", DEADLINE);
    expect(await submitTask(one, wanted)).toMatchObject({ value: { created: false } });
    expect(await kindsOf("again")).toEqual(["requested", "cancelRequested", "cancelled"]);
    expect(await stateOf("again")).toBe("cancelled");
  });
});
