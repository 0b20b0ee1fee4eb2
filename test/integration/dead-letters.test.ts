// Tasks that failed with no attempts left: what is listed of them, and how they are done again, on a real bus with
// real trackers.
import { describe, expect, it, vi } from "vitest";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { httpClient } from "../../shared/client/http-client.ts";
import { natsClient } from "../../shared/client/nats-client.ts";
import type { FailureCategory } from "../../shared/contracts/failure.ts";
import { contextFor } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { postJson, say, sayStarted, startGatewayMesh } from "../support/gateway.ts";
import { startNats } from "../support/nats.ts";

const DEADLINE = { timeout: 20_000, interval: 20 };

async function submitted(bus: Bus, taskId: string, repository = "acme/shop"): Promise<void> {
  expect(await submitTask(bus, request({ taskId, repository, maxAttempts: 1 }))).toMatchObject({ ok: true });
}

/** Lets the task's only attempt fail, and waits for its end. */
async function fail(bus: Bus, taskId: string, category: FailureCategory): Promise<void> {
  await sayStarted(bus, taskId);
  const failure = { category, message: `${taskId} met ${category}` };
  await say(bus, taskId, "faulted", "host-1", { attempt: 1, nonce: "n", failure });
  await vi.waitUntil(async () => {
    const task = await askApi(bus, "get", { taskId });
    return task.ok && task.value.state === "failed";
  }, DEADLINE);
}

const die = async (bus: Bus, taskId: string, category: FailureCategory = "host", repository?: string) => {
  await submitted(bus, taskId, repository);
  await fail(bus, taskId, category);
};

const idsOf = async (bus: Bus, query = {}): Promise<string[]> => {
  const page = await askApi(bus, "dead", query);
  return page.ok ? page.value.data.map(({ task }) => task.taskId) : [page.error.message];
};

describe("dead letters", () => {
  it("are the tasks that ran out of attempts, the latest first, with the story of each attempt", async () => {
    await using mesh = await startGatewayMesh();
    await die(mesh.bus, "first");
    await die(mesh.bus, "refuted", "gate");
    await die(mesh.bus, "second", "source", "acme/tools");
    for (const client of [natsClient(mesh.bus), httpClient(mesh.url)]) {
      const page = await client.dead();
      expect(page).toMatchObject({
        ok: true,
        value: {
          data: [
            {
              task: { taskId: "second", state: "failed", reason: "no attempts are left" },
              attempts: [{ attempt: 1, hostId: "host-1", category: "source", message: "second met source" }],
            },
            { task: { taskId: "first" } },
          ],
          nextCursor: null,
        },
      });
      expect(await client.dead({ category: "gate" })).toMatchObject({ ok: true, value: { data: [] } });
      expect(await client.dead({ category: "host" })).toMatchObject({ value: { data: [{}] } });
    }
    expect(await idsOf(mesh.bus, { repository: "Acme/Tools" })).toEqual(["second"]);
    const newest = await askApi(mesh.bus, "dead", { limit: 1 });
    const cursor = (newest.ok && newest.value.nextCursor) || undefined;
    expect(await idsOf(mesh.bus, { limit: 1, cursor })).toEqual(["first"]);
  });

  it("are the same to a tracker that begins anew", async () => {
    await using nats = await startNats();
    {
      await using mesh = await startGatewayMesh({ natsUrl: nats.url });
      await die(mesh.bus, "one");
    }
    await using mesh = await startGatewayMesh({ natsUrl: nats.url });
    expect(await idsOf(mesh.bus)).toEqual(["one"]);
  });
});

describe("done again", () => {
  it("twice at once, by two trackers, each dead letter is one new task and is listed no more", async () => {
    await using nats = await startNats();
    await using mesh = await startGatewayMesh({ natsUrl: nats.url });
    await using _ = await startTracker(contextFor(nats.url));
    const ids = Array.from({ length: 6 }, (__, number) => `t${number}`);
    for (const taskId of ids) await die(mesh.bus, taskId);
    await die(mesh.bus, "other", "source");
    const all = await Promise.all(
      Array.from({ length: 6 }, () => askApi(mesh.bus, "retryAll", { category: "host" }, 10_000)),
    );
    expect(all.every(({ ok }) => ok)).toBe(true);
    expect(await idsOf(mesh.bus)).toEqual(["other"]);
    const queued = await askApi(mesh.bus, "list", { state: "queued" });
    expect(queued.ok && queued.value.data.map(({ retryOf }) => retryOf ?? "").toSorted()).toEqual(ids);
  });

  it("goes page by page from the oldest on, and leaves alone what fails again meanwhile", async () => {
    await using mesh = await startGatewayMesh();
    for (const taskId of ["a", "b", "c"]) await die(mesh.bus, taskId);
    const first = await askApi(mesh.bus, "retryAll", { limit: 2 });
    expect(first).toMatchObject({ value: { retried: [{ retryOf: "a" }, { retryOf: "b" }], refused: [] } });
    if (!first.ok || first.value.next === null) throw new Error("there is no next page");
    await fail(mesh.bus, first.value.retried[0]?.taskId ?? "", "host");
    const second = await askApi(mesh.bus, "retryAll", { limit: 2, ...first.value.next });
    expect(second).toMatchObject({ value: { retried: [{ retryOf: "c" }], next: null } });
  });

  it("over HTTP is one request for all, and one for each", async () => {
    await using mesh = await startGatewayMesh();
    for (const taskId of ["a", "b"]) await die(mesh.bus, taskId);
    await die(mesh.bus, "other", "source");
    const all = await postJson(`${mesh.url}/v1/retries`, { category: "host" });
    expect(all.status).toBe(202);
    expect(await all.json()).toMatchObject({
      retried: [{ retryOf: "a" }, { retryOf: "b" }],
      refused: [],
      next: null,
    });
    const one = await fetch(`${mesh.url}/v1/tasks/other/retry`, { method: "POST" });
    expect(one.status).toBe(202);
    expect(await one.json()).toMatchObject({ retryOf: "other", state: "queued" });
    expect(await idsOf(mesh.bus)).toEqual([]);
    const none = await postJson(`${mesh.url}/v1/retries`, {});
    expect(await none.json()).toEqual({ retried: [], refused: [], next: null });
  });

  it("is refused while an earlier retry has not ended, and is another task once it has", async () => {
    await using mesh = await startGatewayMesh();
    await die(mesh.bus, "one");
    const first = await askApi(mesh.bus, "retry", { taskId: "one" });
    if (!first.ok) throw new Error(first.error.message);
    const { taskId } = first.value;
    expect(await askApi(mesh.bus, "retry", { taskId: "one" })).toMatchObject({
      ok: false,
      error: { code: "conflict", message: `task one is being done again: its retry ${taskId} is queued` },
    });
    await fail(mesh.bus, taskId, "host");
    expect(await idsOf(mesh.bus)).toEqual([taskId]);
    const again = await askApi(mesh.bus, "retry", { taskId: "one" });
    expect(again).toMatchObject({ ok: true, value: { retryOf: "one", state: "queued" } });
    expect(again.ok && again.value.taskId).not.toBe(taskId);
  });
});
