// How many tasks the mesh takes: a real bus and tracker, with a limit that a test can reach.
import { describe, expect, it, vi } from "vitest";
import { lastIntake } from "../../shared/bus/intake.ts";
import { lastMessage } from "../../shared/bus/read.ts";
import { TASKS } from "../../shared/bus/streams.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { factSubject } from "../../shared/contracts/fact.ts";
import { openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import {
  deployRequest,
  postJson,
  problemOf,
  sayStarted,
  saySucceeded,
  startGatewayMesh,
} from "../support/gateway.ts";
import { startNats } from "../support/nats.ts";

const DEADLINE = { timeout: 20_000, interval: 10 };
const LIMIT = 20;

async function startLimited() {
  const mesh = await startGatewayMesh({ env: { MESH_QUEUE_LIMIT: String(LIMIT) } });
  await vi.waitUntil(async () => (await lastIntake(mesh.bus)) !== null, DEADLINE);
  const counted = (normal: number) =>
    vi.waitUntil(async () => (await lastIntake(mesh.bus))?.unfinished.normal === normal, DEADLINE);
  return { ...mesh, counted };
}

const onTheLog = async (bus: Awaited<ReturnType<typeof openBus>>) =>
  (await lastMessage(bus, TASKS, factSubject.wildcard()))?.sequence ?? 0;

describe("requests beyond the limit of their priority", () => {
  it("are refused, with a time to ask again, and none that was acknowledged is lost", async () => {
    await using mesh = await startLimited();
    const answers = await Promise.all(
      Array.from({ length: 2 * LIMIT }, (_, number) =>
        submitTask(mesh.bus, request({ taskId: `t${number}` })),
      ),
    );
    expect(answers.filter(({ ok }) => ok)).toHaveLength(LIMIT);
    const refused = answers.find(({ ok }) => !ok);
    expect(refused).toMatchObject({ ok: false, error: { code: "too_many" } });
    expect(await onTheLog(mesh.bus)).toBe(LIMIT);
    await mesh.counted(LIMIT);

    const response = await vi.waitUntil(async () => {
      const answer = await postJson(`${mesh.url}/v1/tasks`, deployRequest());
      return answer.status === 429 ? answer : null;
    }, DEADLINE);
    expect(response.headers.get("retry-after")).toBe("2");
    expect(await problemOf(response)).toMatchObject({ code: "too_many" });
  });

  it("keep no other priority from being taken, and are taken once a task has ended", async () => {
    await using mesh = await startLimited();
    for (let number = 0; number < LIMIT; number++)
      await submitTask(mesh.bus, request({ taskId: `t${number}` }));
    await mesh.counted(LIMIT);
    expect(await submitTask(mesh.bus, request())).toMatchObject({ error: { code: "too_many" } });
    expect(await submitTask(mesh.bus, request({ priority: "high" }))).toMatchObject({ ok: true });
    await sayStarted(mesh.bus, "t0");
    await saySucceeded(mesh.bus, "t0");
    await mesh.counted(LIMIT - 1);
    await vi.waitUntil(async () => (await submitTask(mesh.bus, request())).ok, DEADLINE);
    expect(await submitTask(mesh.bus, request())).toMatchObject({ error: { code: "too_many" } });
  });

  it("are known when they are on the log already: sent again, they are the same task", async () => {
    await using mesh = await startLimited();
    for (let number = 0; number < LIMIT; number++)
      await submitTask(mesh.bus, request({ taskId: `t${number}` }));
    await mesh.counted(LIMIT);
    await vi.waitUntil(async () => !(await submitTask(mesh.bus, request())).ok, DEADLINE);
    expect(await submitTask(mesh.bus, request({ taskId: "t3" }))).toMatchObject({
      value: { created: false },
    });
    expect(await submitTask(mesh.bus, request({ taskId: "t3", branch: "other" }))).toMatchObject({
      error: { code: "conflict" },
    });
  });

  it("are taken while nobody has counted: the log decides alone", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    expect(await submitTask(bus, request())).toMatchObject({ ok: true });
  });
});
