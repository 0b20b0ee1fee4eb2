import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { ask, serve } from "../../shared/bus/ask.ts";
import { connectBus } from "../../shared/bus/connect.ts";
import { answer, refuse } from "../../shared/contracts/failure.ts";
import { startNats } from "../support/nats.ts";

const Reply = z.object({ sum: z.number() });
const onBug = (error: unknown) => {
  throw error;
};

describe("an answer", () => {
  it("is the value, or the error that was told", async () => {
    await using nats = await startNats();
    await using bus = await connectBus({ url: nats.url, name: "test" });
    const Request = z.object({ one: z.number(), other: z.number() });
    serve(
      bus,
      "sum",
      Request,
      ({ one, other }) =>
        one < 0 ? refuse("forbidden", "no negative numbers") : answer({ sum: one + other }),
      { onBug },
    );
    expect(await ask(bus, "sum", { one: 1, other: 2 }, Reply)).toEqual(answer({ sum: 3 }));
    expect(await ask(bus, "sum", { one: -1, other: 2 }, Reply)).toEqual(
      refuse("forbidden", "no negative numbers"),
    );
    expect(await ask(bus, "sum", { one: "1" }, Reply)).toMatchObject({ error: { code: "bad_request" } });
  });

  it.each([
    ["no JSON text", "not json"],
    ["another shape", '{"product": 2}'],
    ["empty", ""],
  ])("that is %s is an internal error, not an exception", async (_, payload) => {
    await using nats = await startNats();
    await using bus = await connectBus({ url: nats.url, name: "test" });
    bus.connection.subscribe("odd", { callback: (_error, message) => void message.respond(payload) });
    expect(await ask(bus, "odd", {}, Reply)).toMatchObject({ ok: false, error: { code: "internal" } });
  });

  it("that nobody gives, or not in time, is that the service is unavailable", async () => {
    await using nats = await startNats();
    await using bus = await connectBus({ url: nats.url, name: "test" });
    expect(await ask(bus, "nobody", {}, Reply)).toMatchObject({ error: { code: "unavailable" } });
    bus.connection.subscribe("mute", { callback: () => {} });
    expect(await ask(bus, "mute", {}, Reply, 50)).toMatchObject({ error: { code: "unavailable" } });
  });

  it("that is ready when the bus has been closed is given to nobody, and is no bug", async () => {
    await using nats = await startNats();
    await using asking = await connectBus({ url: nats.url, name: "asking" });
    const serving = await connectBus({ url: nats.url, name: "serving" });
    const ready = Promise.withResolvers<void>();
    const handled = vi.fn<() => void>();
    serve(
      serving,
      "slow",
      z.object({}),
      async () => {
        handled();
        await ready.promise;
        return answer({ sum: 1 });
      },
      { onBug },
    );
    await serving.connection.flush();
    const asked = ask(asking, "slow", {}, Reply, 2_000);
    await vi.waitUntil(() => handled.mock.calls.length === 1, { timeout: 20_000 });
    await serving[Symbol.asyncDispose]();
    // An exception here would be nobody's, and end the process.
    ready.resolve();
    expect(await asked).toMatchObject({ error: { code: "unavailable" } });
  });
});
