// What is made once, by whoever asks first.
import { expect, it } from "vitest";
import { madeOnce } from "../../services/host-agent/wsl/made-once.ts";

it("is made once for all who ask, and anew after a failure, which only those who waited are told", async () => {
  const made = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  let times = 0;
  const get = madeOnce(() => made[times++]?.promise ?? Promise.resolve("too often"));
  const waiting = [get(), get()];
  made[0]?.reject(new Error("not this time"));
  for (const outcome of await Promise.allSettled(waiting))
    expect(outcome).toMatchObject({ reason: { message: "not this time" } });
  const again = [get(), get()];
  made[1]?.resolve("made");
  expect([...(await Promise.all(again)), await get()]).toEqual(["made", "made", "made"]);
  expect(times).toBe(2);
});
