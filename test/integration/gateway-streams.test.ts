// The event streams as connections: a client that does not read, too many of them, and the gateway's own end.
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { collect, deployRequest, problemOf, readEvents, say, startGatewayMesh } from "../support/gateway.ts";
import { startNats } from "../support/nats.ts";

const DEADLINE = { timeout: 20_000, interval: 10 };
/** The gateway breaks connections that are open after so long. */
const CLOSED_BY_FORCE_MS = 5_000;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function memoryInUse(): number {
  collectGarbage();
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return arrayBuffers + heapUsed;
}

describe("an event stream", () => {
  it("drops a client that does not read, keeps nothing for it, and lets it resume", async () => {
    await using mesh = await startGatewayMesh({ tracker: false, sse: { stallMs: 1_000 } });
    const env = Object.fromEntries(
      Array.from({ length: 12 }, (_, index) => [`X${index}`, "x".repeat(32_000)]),
    );
    const total = 120;
    for (let index = 0; index < total; index++)
      await say(
        mesh.bus,
        `large-${index}`,
        "requested",
        "normal",
        deployRequest({ run: { command: "true", env } }),
      );
    const memoryBefore = memoryInUse();

    const socket = connect(mesh.port, "127.0.0.1");
    socket.write(`GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:${mesh.port}\r\nLast-Event-ID: 0\r\n\r\n`);
    socket.pause();
    await vi.waitUntil(async () => (await mesh.readers()) === 1, DEADLINE);
    await vi.waitUntil(async () => (await mesh.readers()) === 0, DEADLINE);
    // What the connection held goes a little after it.
    const isFree = () => memoryInUse() - memoryBefore < 32 * 1024 * 1024;
    await vi.waitUntil(isFree, { ...DEADLINE, interval: 200 });

    let text = "";
    socket.on("data", (data) => {
      text += data.toString();
    });
    socket.on("error", () => {});
    await new Promise((closed) => socket.on("close", closed).resume());
    const received = [...text.matchAll(/^id: (\d+)\nevent: .*\ndata: .*\n\n/gm)].map((match) =>
      Number(match[1]),
    );
    expect(received.length).toBeLessThan(total);
    const rest = await collect(
      readEvents(`${mesh.url}/v1/events`, received.at(-1) ?? 0),
      total - received.length,
    );
    expect([...received, ...rest.map(({ id }) => id)]).toStrictEqual(
      Array.from({ length: total }, (_, index) => index + 1),
    );
  });

  it("is refused when there are too many, until one leaves", async () => {
    await using mesh = await startGatewayMesh({ tracker: false, sse: { maxClients: 2 } });
    const url = `${mesh.url}/v1/events`;
    const leave = new AbortController();
    const open = [await fetch(url, { signal: leave.signal }), await fetch(url)];
    const third = await fetch(url);
    expect(third.status).toBe(503);
    expect(await problemOf(third)).toMatchObject({ code: "unavailable" });
    leave.abort();
    await vi.waitUntil(async () => (await mesh.readers()) === 1, DEADLINE);
    const fourth = await fetch(url);
    expect(fourth.status).toBe(200);
    await Promise.all([open[1]?.body?.cancel(), fourth.body?.cancel()]);
  });

  it("shows that it lives, by comments", async () => {
    await using mesh = await startGatewayMesh({ tracker: false, sse: { heartbeatMs: 20 } });
    const response = await fetch(`${mesh.url}/v1/events`);
    let text = "";
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += piece;
      if (text.endsWith(":\n\n:\n\n")) break;
    }
    expect(text).toContain("\n\n:\n\n:\n\n");
  });

  it("ends with the gateway, which waits for nobody", async () => {
    await using mesh = await startGatewayMesh({ tracker: false });
    await say(mesh.bus, "running", "requested", "normal", deployRequest());
    const open = await Promise.all(
      ["/v1/events", "/v1/tasks/running/events", "/v1/tasks/running/logs"].map((path) =>
        fetch(mesh.url + path),
      ),
    );
    expect(open.map(({ status }) => status)).toStrictEqual([200, 200, 200]);
    const texts = ["", "", ""];
    const ended = open.map(async ({ body }, index) => {
      for await (const piece of body?.pipeThrough(new TextDecoderStream()) ?? []) texts[index] += piece;
    });
    await vi.waitUntil(() => texts[1]?.includes("\ndata: "), DEADLINE);
    const began = performance.now();
    await mesh.stopGateway();
    expect(performance.now() - began).toBeLessThan(CLOSED_BY_FORCE_MS);
    await Promise.all(ended);
    expect(texts.map((text) => text.split("\ndata: ").length - 1)).toStrictEqual([0, 1, 0]);
  });

  it("goes on by itself when the bus was away", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "agent-mesh-away-"));
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
    await using nats = await startNats({ dataDir });
    await using away = await startGatewayMesh({ tracker: false, natsUrl: nats.url });
    const reader = readEvents(`${away.url}/v1/events`, 0);
    await say(away.bus, "first", "requested", "normal", deployRequest());
    expect((await reader.next()).value).toMatchObject({ data: { taskId: "first" } });
    await nats[Symbol.asyncDispose]();
    await expect.poll(async () => (await fetch(`${away.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${away.url}/v1/tasks/first/events`)).status).toBe(503);
    await using restarted = await startNats({ dataDir, port: Number(new URL(nats.url).port) });
    expect(restarted.url).toBe(nats.url);
    const second = () => say(away.bus, "second", "requested", "normal", deployRequest()).catch(() => 0);
    await expect.poll(second, { timeout: 20_000 }).toBeGreaterThan(0);
    expect((await reader.next()).value).toMatchObject({ data: { taskId: "second" } });
    await reader.return(undefined);
  });
});
