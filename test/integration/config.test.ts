// The hot configuration on a real bus, with real services that follow it.
import { jetstreamManager } from "@nats-io/jetstream";
import { type Logger, pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { start as startGateway } from "../../services/gateway/main.ts";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import { putEntry } from "../../shared/bus/bucket.ts";
import { connectBus } from "../../shared/bus/connect.ts";
import { provision } from "../../shared/bus/provision.ts";
import { followSettings } from "../../shared/bus/settings.ts";
import { bucketStream, CONFIG } from "../../shared/bus/streams.ts";
import { DEFAULT_SETTINGS } from "../../shared/config/settings.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { startNats } from "../support/nats.ts";

/** A change has reached everybody by then. */
const PROMISED = { timeout: 10_000, interval: 10 };

interface Line {
  level: number;
  msg: string;
  key?: string;
  value?: unknown;
  stays?: unknown;
}
const WARN = 40;

/** A log whose lines a test reads. */
function logOf(): { log: Logger; lines: Line[] } {
  const lines: Line[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line) as Line);
  return { log: pino({ level: "info" }, { write }), lines };
}

async function startServices(url: string) {
  await using stack = new AsyncDisposableStack();
  const logs = [];
  for (const start of [startTracker, startScheduler, startGateway]) {
    const { log, lines } = logOf();
    stack.use(await start({ ...contextFor(url, { MESH_HTTP_PORT: "0" }), log }));
    logs.push({ log, lines });
  }
  const owned = stack.move();
  return { logs, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

describe("a setting that is changed", () => {
  it("reaches gateway, scheduler and status tracker in less than ten seconds, and back", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await using services = await startServices(nats.url);
    const levels = () => services.logs.map(({ log }) => log.level);
    expect(await askApi(bus, "configure", { key: "log.level", value: "warn" })).toMatchObject({
      ok: true,
      value: { key: "log.level", value: "warn", default: null, isSet: true, problem: null },
    });
    await vi.waitUntil(() => levels().every((level) => level === "warn"), PROMISED);
    expect(await askApi(bus, "configure", { key: "log.level" })).toMatchObject({
      ok: true,
      value: { value: null, isSet: false },
    });
    await vi.waitUntil(() => levels().every((level) => level === "info"), PROMISED);
  });

  it("is refused by the API if it is wrong, and nothing is stored", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await using _ = await startTracker(contextFor(nats.url));
    await vi.waitUntil(async () => (await askApi(bus, "config", {})).ok, PROMISED);
    for (const [key, value] of [
      ["task.timeoutGraceMs", "soon"],
      ["task.timeoutGrcaeMs", 5],
      ["a.*", 5],
    ])
      expect(await askApi(bus, "configure", { key: String(key), value })).toMatchObject({
        ok: false,
        error: { code: "bad_request" },
      });
    const shown = await askApi(bus, "config", {});
    expect(shown.ok && shown.value.data.filter(({ isSet }) => isSet)).toEqual([]);
  });

  it("and is wrong in the bucket all the same is warned of by every service, and the old one stays", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await using services = await startServices(nats.url);
    await putEntry(bus, CONFIG, "task.timeoutGraceMs", 7_000);
    // A bucket keeps the last value alone: who is slow never hears of the one before.
    const heard = () => services.logs.every(({ lines }) => lines.some(({ value }) => value === 7_000));
    await vi.waitUntil(heard, PROMISED);
    await putEntry(bus, CONFIG, "task.timeoutGraceMs", "soon");
    await putEntry(bus, CONFIG, "task.fromTheFuture", 1);
    for (const { lines } of services.logs) {
      const warning = await vi.waitUntil(() => lines.find(({ level }) => level === WARN), PROMISED);
      expect(warning).toMatchObject({ key: "task.timeoutGraceMs", value: "soon", stays: 7_000 });
      await vi.waitUntil(() => lines.some(({ key }) => key === "task.fromTheFuture"), PROMISED);
    }
    const shown = await askApi(bus, "config", {});
    expect(shown.ok && shown.value.data.find(({ key }) => key === "task.timeoutGraceMs")).toMatchObject({
      isSet: true,
      problem: expect.stringContaining("expected whole milliseconds") as string,
    });
  });
});

describe("a service", () => {
  it("begins with what was set before it began", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await putEntry(bus, CONFIG, "task.timeoutGraceMs", 7_000);
    await using settings = await followSettings(bus, logOf().log);
    expect(settings.now()).toEqual({ ...DEFAULT_SETTINGS, "task.timeoutGraceMs": 7_000 });
  });

  it("uses the defaults while the bucket cannot be read, says so, and follows it once it can", async () => {
    await using nats = await startNats();
    await using bus = await connectBus({ url: nats.url, name: "test" });
    const { log, lines } = logOf();
    await using settings = await followSettings(bus, log);
    expect(settings.now()).toEqual(DEFAULT_SETTINGS);
    expect(lines).toMatchObject([
      { level: WARN, msg: expect.stringContaining("the defaults hold") as string },
    ]);
    await provision(bus);
    await putEntry(bus, CONFIG, "task.timeoutGraceMs", 7_000);
    await vi.waitUntil(() => settings.now()["task.timeoutGraceMs"] === 7_000, PROMISED);
  });

  it("leaves no reader behind when it ends", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    const settings = await followSettings(bus, logOf().log);
    await settings[Symbol.asyncDispose]();
    const manager = await jetstreamManager(bus.connection);
    const readers = async () => (await manager.streams.info(bucketStream(CONFIG))).state.consumer_count;
    await vi.waitFor(async () => expect(await readers()).toBe(0), PROMISED);
  });
});
