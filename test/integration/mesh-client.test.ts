// What an orchestrator imports does the same over NATS and over HTTP.
import { describe, expect, it } from "vitest";
import { httpClient } from "../../shared/client/http-client.ts";
import type { MeshClient } from "../../shared/client/mesh-client.ts";
import { natsClient } from "../../shared/client/nats-client.ts";
import { startCuttingProxy } from "../support/cutting-proxy.ts";
import { request } from "../support/facts.ts";
import {
  collect,
  type GatewayMesh,
  leaveBehind,
  sayLog,
  sayStarted,
  saySucceeded,
  startGatewayMesh,
} from "../support/gateway.ts";

const clients: [string, (mesh: GatewayMesh) => MeshClient][] = [
  ["NATS", ({ bus }) => natsClient(bus)],
  ["HTTP", ({ url }) => httpClient(url)],
];

async function submitted(client: MeshClient, overrides: Parameters<typeof request>[0] = {}): Promise<string> {
  const task = await client.submit(request(overrides));
  if (!task.ok) throw new Error(task.error.message);
  return task.value.taskId;
}

describe.each(clients)("a client over %s", (_, connect) => {
  it("submits, reads, lists, cancels and does again", async () => {
    await using mesh = await startGatewayMesh();
    await using client = connect(mesh);
    const first = await client.submit(request({ taskId: "one", prNumber: 3 }));
    expect(first).toMatchObject({ ok: true, value: { taskId: "one", state: "queued", prNumber: 3 } });
    expect(await client.submit(request({ taskId: "one", prNumber: 3 }))).toEqual(first);
    expect(await client.get("one")).toEqual(first);
    const listed = await client.list({ repository: "acme/shop", state: "queued", prNumber: 3 });
    expect(listed).toMatchObject({ ok: true, value: { data: [{ taskId: "one" }], nextCursor: null } });
    expect(await client.explain("one")).toMatchObject({ ok: true, value: { queuePosition: 1 } });
    expect(await client.hosts()).toMatchObject({ ok: true, value: { data: [], pauses: [] } });
    const cancelled = await client.cancel({ repository: "acme/shop", prNumber: 3, reason: "enough" });
    expect(cancelled).toEqual({ ok: true, value: { cancelled: ["one"] } });
    expect(await client.waitForEnd("one")).toMatchObject({
      ok: true,
      value: { state: "cancelled", reason: "enough" },
    });
    const again = await client.retry("one");
    expect(again).toMatchObject({ ok: true, value: { retryOf: "one", state: "queued" } });
  });

  it("answers with the same codes to what cannot be", async () => {
    await using mesh = await startGatewayMesh();
    await using client = connect(mesh);
    const notFound = { ok: false, error: { code: "not_found" } };
    expect(await client.get("nobody")).toMatchObject(notFound);
    expect(await client.cancel({ taskId: "nobody" })).toMatchObject(notFound);
    expect(await client.retry("nobody")).toMatchObject(notFound);
    await expect(collect(client.facts("nobody"))).rejects.toMatchObject({ code: "not_found" });
    await expect(collect(client.logs("nobody"))).rejects.toMatchObject({ code: "not_found" });
    expect(await client.waitForEnd("nobody")).toMatchObject(notFound);
    expect(await client.get("a.b")).toMatchObject({ ok: false, error: { code: "bad_request" } });
    await expect(collect(client.facts("a.>"))).rejects.toMatchObject({ code: "bad_request" });
    const misspelt = { ...request(), brnch: "x" };
    const refused = await client.submit(misspelt);
    expect(refused).toMatchObject({ ok: false, error: { code: "bad_request" } });
    expect(JSON.stringify(refused)).toContain('did you mean \\"branch\\"?');
    await submitted(client, { taskId: "one" });
    expect(await client.submit(request({ taskId: "one", branch: "other" }))).toMatchObject({
      ok: false,
      error: { code: "conflict" },
    });
  });

  it("hands over an artifact whole, or throws before its end", async () => {
    await using mesh = await startGatewayMesh();
    await using client = connect(mesh);
    const large = Buffer.alloc(1_500_000, "agent-mesh ");
    await leaveBehind(mesh.bus, "whole", large);
    await leaveBehind(mesh.bus, "damaged", large, ([first = Buffer.alloc(0), ...others]) => [
      first,
      ...others.map((chunk) => Buffer.from(chunk).fill(0, 0, 1)),
    ]);
    for (const taskId of ["whole", "damaged"]) await client.waitForEnd(taskId);
    const bytesOf = async (taskId: string) => {
      const bytes = await client.artifact(taskId, "patch");
      if (!bytes.ok) throw new Error(bytes.error.message);
      return Buffer.concat(await collect(bytes.value));
    };
    expect((await bytesOf("whole")).equals(large)).toBe(true);
    await expect(bytesOf("damaged")).rejects.toMatchObject({ code: "internal" });
    expect(await client.artifact("whole", "other")).toMatchObject({
      ok: false,
      error: { code: "not_found" },
    });
    expect(await client.artifact("nobody", "patch")).toMatchObject({
      ok: false,
      error: { code: "not_found" },
    });
  });

  it("tells every fact once, up to the task's end, after any sequence", async () => {
    await using mesh = await startGatewayMesh();
    await using client = connect(mesh);
    const taskId = await submitted(client);
    const live = collect(client.facts(taskId));
    await submitted(client);
    const started = await sayStarted(mesh.bus, taskId);
    await saySucceeded(mesh.bus, taskId);
    const facts = await live;
    expect(facts.map(({ kind }) => kind)).toEqual(["requested", "started", "succeeded"]);
    expect(facts[1]).toMatchObject({ taskId, sequence: started, speaker: "host-1", attempt: 1 });
    expect(await collect(client.facts(taskId, { after: started }))).toEqual(facts.slice(2));
    expect(await collect(client.facts(taskId, { after: 1_000 }))).toEqual([]);
    expect(await client.waitForEnd(taskId)).toMatchObject({ ok: true, value: { state: "succeeded" } });
  });

  it("follows a task's log to its end, or tells what there is", async () => {
    await using mesh = await startGatewayMesh();
    await using client = connect(mesh);
    const taskId = await submitted(client);
    await sayStarted(mesh.bus, taskId);
    const first = await sayLog(mesh.bus, taskId, { source: "phase", phase: "running", text: "it runs" });
    await sayLog(mesh.bus, taskId, { text: "one\n" });
    const soFar = await collect(client.logs(taskId));
    expect(soFar).toMatchObject([
      { sequence: first, source: "phase", phase: "running", attempt: 1, hostId: "host-1" },
      { text: "one\n" },
    ]);
    const followed = collect(client.logs(taskId, { follow: true, after: first }));
    await sayLog(mesh.bus, taskId, { source: "stderr", text: "two\n" });
    await saySucceeded(mesh.bus, taskId);
    expect((await followed).map(({ text }) => text)).toEqual(["one\n", "two\n"]);
    expect(await collect(client.logs(taskId, { after: first }))).toHaveLength(2);
  });

  it("ends a stream with the signal's reason", async () => {
    await using mesh = await startGatewayMesh();
    await using client = connect(mesh);
    const taskId = await submitted(client);
    const endless = [
      (signal: AbortSignal) => collect<object>(client.facts(taskId, { signal })),
      (signal: AbortSignal) => collect<object>(client.logs(taskId, { signal, follow: true })),
    ];
    for (const read of endless) {
      const leave = new AbortController();
      setTimeout(() => leave.abort(new Error("enough")), 100);
      await expect(read(leave.signal)).rejects.toThrow("enough");
    }
    const signal = AbortSignal.timeout(100);
    await expect(client.waitForEnd(taskId, { signal })).rejects.toMatchObject({ name: "TimeoutError" });
  });
});

describe("a client", () => {
  it("over HTTP resumes its streams when the connection is cut, without a gap or a repeat", async () => {
    await using mesh = await startGatewayMesh();
    await using proxy = await startCuttingProxy(mesh.port);
    const client = httpClient(proxy.url);
    const taskId = await submitted(client);
    const kinds: string[] = [];
    for await (const { kind } of client.facts(taskId)) {
      kinds.push(kind);
      proxy.cut();
      if (kind === "requested") await sayStarted(mesh.bus, taskId);
      if (kind === "started") await saySucceeded(mesh.bus, taskId);
    }
    expect(kinds).toEqual(["requested", "started", "succeeded"]);
  });

  it("over NATS has a request taken while no status tracker answers", async () => {
    await using mesh = await startGatewayMesh({ tracker: false });
    const task = await natsClient(mesh.bus).submit(request({ taskId: "one" }));
    expect(task).toMatchObject({ ok: true, value: { taskId: "one", state: "queued" } });
  });

  it("over HTTP says where it could not reach anybody", async () => {
    const nobody = httpClient("http://127.0.0.1:9");
    expect(await nobody.hosts()).toMatchObject({ ok: false, error: { code: "unavailable" } });
    await expect(collect(nobody.facts("one"))).rejects.toMatchObject({ code: "unavailable" });
  });
});
