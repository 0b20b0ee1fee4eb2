// What a person is told of one host.
import { stripVTControlCharacters } from "node:util";
import { expect, it } from "vitest";
import { hostText } from "../../services/cli/fleet/host-text.ts";
import { HostView } from "../../shared/contracts/api.ts";
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import { heartbeat } from "../support/heartbeats.ts";

const NOW = Date.parse("2026-11-27T12:00:00Z");
const told = (overrides: Partial<Heartbeat> = {}) =>
  stripVTControlCharacters(
    hostText(
      HostView.parse({ ...heartbeat(overrides), online: true, lastSeenAt: "2026-11-27T11:59:58Z" }),
      NOW,
    ),
  );

it("a host is told in full: whose it is, what it has, and what runs there with its use", () => {
  const text = told({
    memory: { totalBytes: 8e9, availableBytes: 3e9 },
    memoryOf: {
      machine: { totalBytes: 32e9, availableBytes: 12e9 },
      vm: { totalBytes: 8e9, availableBytes: 3e9, pressure: 0.34 },
      keptBytes: 8e9,
    },
    vmClockAheadMs: -90_000,
    owner: { power: "battery", presence: "present", idleMs: 120_000 },
    withheld: { why: "it runs on battery", until: null },
    lastResume: { at: "2026-11-27T08:00:00.000Z", gapMs: 36_000_000 },
    versions: { "host-agent": "0.1.0" },
    attempts: [
      { taskId: "t1", attempt: 2, nonce: "n", use: { memoryBytes: 1.5e9, cpus: 0.75 } },
      { taskId: "t2", attempt: 1, nonce: "n" },
    ],
  });
  for (const line of [
    /begins work +no: it runs on battery/,
    /owner +present, idle for 2 min 0 s/,
    /power +battery/,
    /memory +3.0 GB of 8.0 GB free for attempts/,
    /of the machine +12.0 GB of 32.0 GB free/,
    /of its VM +3.0 GB of 8.0 GB free, 34 % of the time waited for/,
    /clock of its VM +1 min 30 s behind the machine's/,
    /kept for owner +8.0 GB/,
    /versions +host-agent=0.1.0/,
    /last woke +2026-11-27T08:00:00.000Z, after 10 h 0 min/,
    /runs +t1 \(attempt 2\): 1.5 GB, 0.8 cores/,
    /runs +t2 \(attempt 1\)$/m,
  ])
    expect(text).toMatch(line);
});

it("a host that says little of itself, or says it with control characters, is told in plain lines", () => {
  const text = told({ withheld: { why: "\u001b[2J\nh2 begins work", until: null }, labels: { a: "\n\n" } });
  expect(told({ vmClockAheadMs: 1_500 })).not.toContain("clock");
  expect(text).not.toContain("\u001b");
  expect(text).not.toMatch(/^h2/m);
  expect(text).not.toMatch(/owner|VM|woke|runs/);
});
