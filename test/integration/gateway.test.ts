// The gateway's requests over real HTTP, a real nats-server and a real status tracker.
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { start } from "../../services/gateway/main.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { ConfigurationError, readEnvironment } from "../../shared/config/environment.ts";
import { contextFor } from "../support/bus.ts";
import {
  deployRequest,
  type GatewayMesh,
  postJson,
  problemOf,
  startGatewayMesh,
} from "../support/gateway.ts";
import { startNats } from "../support/nats.ts";

let mesh: GatewayMesh;
beforeAll(async () => {
  mesh = await startGatewayMesh();
});
afterAll(() => mesh[Symbol.asyncDispose]());

const tasks = () => `${mesh.url}/v1/tasks`;

describe("a task over HTTP", () => {
  it("is accepted with its place, and known at once", async () => {
    for (let round = 0; round < 20; round++) {
      const accepted = await postJson(tasks(), deployRequest());
      expect(accepted.status).toBe(202);
      const { taskId } = z.object({ taskId: z.string() }).parse(await accepted.json());
      expect(accepted.headers.get("location")).toBe(`/v1/tasks/${taskId}`);
      const got = await fetch(`${mesh.url}${accepted.headers.get("location")}`);
      expect(got.status).toBe(200);
      expect(await got.json()).toMatchObject({ taskId, state: "queued", branch: "feature" });
    }
  });

  it("is known at once, whichever of two trackers is asked", async () => {
    await using nats = await startNats();
    await using both = await startGatewayMesh({ natsUrl: nats.url });
    await using _ = await startTracker(contextFor(nats.url));
    const submitAndGet = async () => {
      const accepted = await postJson(`${both.url}/v1/tasks`, deployRequest());
      return (await fetch(`${both.url}${accepted.headers.get("location")}`)).status;
    };
    const statuses = await Promise.all(Array.from({ length: 50 }, submitAndGet));
    expect(new Set(statuses)).toStrictEqual(new Set([200]));
  });

  it("sent twice is one task; another body under its id is a conflict", async () => {
    const request = deployRequest({ taskId: "same-again" });
    const [first, second] = [await postJson(tasks(), request), await postJson(tasks(), request)];
    expect([first.status, second.status]).toStrictEqual([202, 202]);
    expect(await first.json()).toMatchObject({ taskId: "same-again", created: true });
    expect(await second.json()).toMatchObject({ taskId: "same-again", created: false });
    const other = await postJson(tasks(), { ...request, branch: "other" });
    expect(other.status).toBe(409);
    expect(await problemOf(other)).toMatchObject({ code: "conflict" });
  });

  it("with an Idempotency-Key is one task for one key", async () => {
    const send = async (key: string) => {
      const response = await postJson(tasks(), deployRequest(), { "idempotency-key": key });
      return z.object({ taskId: z.string() }).parse(await response.json()).taskId;
    };
    expect(await send("k 1")).toBe(await send("k 1"));
    expect(await send("k 1")).not.toBe(await send("k 2"));
    const both = await postJson(tasks(), deployRequest({ taskId: "x" }), { "idempotency-key": "k" });
    expect(both.status).toBe(400);
  });

  it("is listed, explained, cancelled, and done again", async () => {
    await postJson(tasks(), deployRequest({ taskId: "life", repository: "octo-org/life", prNumber: 7 }));
    const listed = await fetch(`${tasks()}?repository=octo-org/life&prNumber=7&limit=5`);
    expect(await listed.json()).toMatchObject({ data: [{ taskId: "life" }], nextCursor: null });
    const explained = await fetch(`${tasks()}/life/explain`);
    expect(await explained.json()).toMatchObject({ taskId: "life", state: "queued" });
    const cancelled = await fetch(`${tasks()}/life/cancel`, { method: "POST" });
    expect(cancelled.status).toBe(202);
    expect(await cancelled.json()).toStrictEqual({ cancelled: ["life"] });
    await expect
      .poll(async () => (await fetch(`${tasks()}/life`)).json())
      .toMatchObject({ state: "cancelled" });
    const again = await postJson(`${tasks()}/life/retry`, {});
    expect(again.status).toBe(202);
    expect(await again.json()).toMatchObject({ retryOf: "life", state: "queued" });
    expect(again.headers.get("location")).toMatch(/^\/v1\/tasks\/[a-z0-9-]+$/);
  });

  it("is cancelled with all others of its pull request", async () => {
    for (const taskId of ["pr-a", "pr-b"])
      await postJson(
        tasks(),
        deployRequest({ taskId, repository: "octo-org/many", prNumber: 9, supersede: false }),
      );
    const cancelled = await postJson(`${mesh.url}/v1/cancellations`, {
      repository: "octo-org/many",
      prNumber: 9,
    });
    expect(await cancelled.json()).toStrictEqual({ cancelled: ["pr-a", "pr-b"] });
  });

  it("hosts are listed", async () => {
    expect(await (await fetch(`${mesh.url}/v1/hosts`)).json()).toMatchObject({ data: [], pauses: [] });
  });
});

describe("the gateway", () => {
  it("is ready with a tracker", async () => {
    expect((await fetch(`${mesh.url}/readyz`)).status).toBe(200);
  });

  it("without a tracker is alive, not ready, takes tasks, and says when to ask again", async () => {
    await using alone = await startGatewayMesh({ tracker: false });
    expect((await fetch(`${alone.url}/livez`)).status).toBe(200);
    expect((await problemOf(await fetch(`${alone.url}/readyz`))).detail).toContain("tracker");
    expect((await postJson(`${alone.url}/v1/tasks`, deployRequest({ taskId: "early" }))).status).toBe(202);
    const asked = await fetch(`${alone.url}/v1/tasks/early`);
    expect(asked.status).toBe(503);
    expect(asked.headers.get("retry-after")).toBe("2");
  });

  it("says it when its port is taken", async () => {
    await using nats = await startNats();
    await using first = await startGatewayMesh({ tracker: false, natsUrl: nats.url });
    const environment = readEnvironment({ NATS_URL: nats.url, MESH_HTTP_PORT: String(first.port) });
    const second = start({ environment, log: pino({ level: "silent" }) });
    await expect(second).rejects.toThrow(ConfigurationError);
    await expect(second).rejects.toThrow(`MESH_HTTP_PORT: port ${first.port} on 127.0.0.1 is taken`);
  });
});
