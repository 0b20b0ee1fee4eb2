// Budgets and costs through the real services: what waits says so, what was used is asked for over NATS, HTTP and on the
// command line, and services that begin anew know all of it.
import { describe, expect, it, vi } from "vitest";
import { start as startGateway } from "../../services/gateway/main.ts";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { httpClient } from "../../shared/client/http-client.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { problemOf } from "../support/gateway.ts";
import { runMesh } from "../support/mesh-program.ts";
import { startNats } from "../support/nats.ts";
import { startScriptedHost } from "../support/scripted-host.ts";
import { resultOf } from "../support/usage.ts";

const DEADLINE = { timeout: 20_000, interval: 20 };

describe("a budget of the day", () => {
  it("has tasks wait that it does not reach for, and is known to services that begin anew", async () => {
    await using stack = new AsyncDisposableStack();
    const { url } = stack.use(await startNats());
    const bus = stack.use(await openBus(url));
    const services = async () => [await startTracker(contextFor(url)), await startScheduler(contextFor(url))];
    // A scheduler has read the settings before it places anything.
    let running = [await startTracker(contextFor(url))];
    const end = async () =>
      void (await Promise.all(running.map((service) => service[Symbol.asyncDispose]())));
    stack.defer(end);
    const gateway = stack.use(await startGateway(contextFor(url), { port: 0 }));
    const host = stack.use(
      await startScriptedHost(bus, "h1", {
        about: { runners: ["command", "claude-code"], slots: { total: 9, free: 9 } },
      }),
    );
    const submit = async (taskId: string, overrides: object) =>
      expect(
        await submitTask(bus, request({ taskId, resources: { memoryBytes: 1 }, ...overrides })),
      ).toMatchObject({ ok: true });
    const agent = { prompt: "Mend it.", agent: { maxBudgetUsd: 1 } };
    const begun = () => host.orders.map(({ taskId }) => taskId);

    const refused = await askApi(bus, "configure", { key: "budget.perDay", value: { usd: -1 } });
    expect(refused).toMatchObject({ error: { message: "budget.perDay.usd: expected dollars, or null" } });
    await askApi(bus, "configure", { key: "budget.perDay", value: { usd: 2.5 } });
    running.push(await startScheduler(contextFor(url)));
    for (const taskId of ["one", "two", "three"]) await submit(taskId, agent);
    await submit("command", { run: { command: "true" } });
    await vi.waitUntil(() => begun().length === 3, DEADLINE);
    expect(begun()).toEqual(expect.arrayContaining(["one", "two", "command"]));
    const untilTold = (words: string) =>
      vi.waitUntil(async () => {
        const told = await askApi(bus, "explain", { taskId: "three" });
        return told.ok && told.value.summary.startsWith(`queued, number 1: the mesh has used ${words}`);
      }, DEADLINE);
    await untilTold("$0.00 of its $2.50 for the day (UTC), $2.00 are held");

    await host.say("one", "succeeded", { result: resultOf({ costUsd: 0.75, outputTokens: 5 }) });
    await end();
    running = await services();
    const mesh = httpClient(gateway.url);
    const costs = await vi.waitUntil(async () => {
      const told = await mesh.costs({ by: "runner", repository: "ACME/shop" });
      return told.ok ? told.value : null;
    }, DEADLINE);
    expect(costs).toMatchObject({
      rows: [{ key: "claude-code", attempts: 1, costUsd: 0.75, inputTokens: 100, outputTokens: 5 }],
      budgets: [{ repository: null, limit: { usd: 2.5 }, used: { usd: 0.75 }, reserved: { usd: 1 } }],
    });
    await untilTold("$0.75 of its $2.50 for the day (UTC), $1.00 are held");
    expect(begun()).not.toContain("three");
    await host.say("two", "faulted", {
      failure: { category: "gate", message: "no" },
      result: resultOf({ costUsd: 0.5 }),
    });
    await vi.waitUntil(() => begun().includes("three"), DEADLINE);

    const shown = await runMesh(["costs", "--by", "repository", "--since", "1d", "--url", gateway.url]);
    expect(shown.stdout).toMatch(/^acme\/shop +2 +\$1\.25 +200 +0 +5$/m);
    expect(shown.stdout).toContain(
      "today's budget of the mesh: $1.25 of $2.50 used, $1.00 held for what runs\n",
    );
    expect(await runMesh(["costs", "--by", "moon", "--url", gateway.url])).toMatchObject({ code: 2 });
    const wrong = await fetch(`${gateway.url}/v1/costs?since=yesterday`);
    expect([wrong.status, (await problemOf(wrong)).detail]).toEqual([
      400,
      "since: expected a day such as 2026-11-26",
    ]);
  });
});
