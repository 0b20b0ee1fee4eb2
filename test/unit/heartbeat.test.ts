import { describe, expect, it } from "vitest";
import { decodeHeartbeat, heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import { heartbeat } from "../support/heartbeats.ts";

const heard = (said: object) =>
  decodeHeartbeat(heartbeatSubject.build({ hostId: "h1" }), Buffer.from(JSON.stringify(said)))?.heartbeat;

describe("a heartbeat", () => {
  it("of an older version, which tells nothing of its owner, is of a host that takes work", () => {
    const { withheld, untrusted, stopping, ...older } = heartbeat();
    expect(heard(older)).toEqual(heartbeat());
  });

  it("is taken without readings for people that only a newer version could read", () => {
    const held = { taskId: "t1", attempt: 1, nonce: "n" };
    const said = {
      ...heartbeat({ attempts: [held] }),
      attempts: [{ ...held, use: { memoryBytes: "1 GB" } }],
      owner: { power: "solar", presence: "present", idleMs: 0 },
      memoryOf: { machine: "large" },
      limits: { memory: 1 },
      lastResume: { at: "yesterday", gapMs: null },
      news: true,
    };
    expect(heard(said)).toEqual(heartbeat({ attempts: [held] }));
  });

  it("that does not say whether work is withheld in a way that can be read is no heartbeat", () => {
    expect(heard({ ...heartbeat(), withheld: "maybe" })).toBeNull();
  });
});
