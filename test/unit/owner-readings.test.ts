// What machines say of their power and their owners, in the words of each system; and readings that hang or fail.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { gauge } from "../../services/host-agent/condition/gauge.ts";
import { offeredMemory, shortOfMemory } from "../../services/host-agent/condition/offered-memory.ts";
import { powerOfLinux, powerOfMac, powerOfWindows } from "../../services/host-agent/owner/power.ts";
import {
  presenceInSessions,
  presenceOnLinux,
  presenceOnMac,
  presenceOnWindows,
} from "../../services/host-agent/owner/presence.ts";
import { absenceSince } from "../../services/host-agent/owner/watch.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** A folder of power supplies as the kernel shows them. */
function supplies(found: Record<string, Record<string, string>>): string {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-power-"));
  folders.push(folder);
  for (const [name, files] of Object.entries(found)) {
    mkdirSync(path.join(folder, name));
    for (const [file, text] of Object.entries(files))
      writeFileSync(path.join(folder, name, file), `${text}\n`);
  }
  return folder;
}

describe("power on Linux", () => {
  const battery = (status: string) => ({ type: "Battery", status });
  it.each([
    ["a desktop", {}, "ac"],
    ["a plugged laptop", { AC: { type: "Mains", online: "1" }, BAT0: battery("Not charging") }, "ac"],
    ["an unplugged laptop", { AC: { type: "Mains", online: "0" }, BAT0: battery("Discharging") }, "battery"],
    ["a laptop charged by USB", { port: { type: "USB_PD", online: "1" }, BAT0: battery("Charging") }, "ac"],
    ["a charging one without a word of its adapter", { BAT0: battery("Charging") }, "ac"],
    ["a desktop with a mouse", { hid: { ...battery("Discharging"), scope: "Device" } }, "ac"],
    ["a battery that says nothing", { BAT0: battery("Unknown") }, "unknown"],
    ["garbage", { BAT0: { type: "\0\0" }, AC: {} }, "ac"],
  ])("of %s", async (_, found, power) => {
    expect(await powerOfLinux(supplies(found))).toBe(power);
  });

  it("is unknown where the kernel tells of none", async () => {
    expect(await powerOfLinux("/nowhere")).toBe("unknown");
  });
});

it("power on macOS and Windows is told by a name and a number, in any language", () => {
  expect(powerOfMac("Now drawing from 'AC Power'\n -InternalBattery-0\t97%; charged\n")).toBe("ac");
  expect(powerOfMac("Now drawing from 'Battery Power'\n")).toBe("battery");
  expect(["1\r\n", "0\r\n", "255\r\n", "", null].map(powerOfWindows)).toEqual([
    "ac",
    "battery",
    "unknown",
    "unknown",
    "unknown",
  ]);
  expect(powerOfMac(null)).toBe("unknown");
});

describe("presence on Linux", () => {
  const session = (about: Record<string, string>) =>
    Object.entries({
      Class: "user",
      Type: "wayland",
      State: "active",
      IdleHint: "no",
      IdleSinceHint: "0",
      ...about,
    })
      .map(([name, value]) => `${name}=${value}`)
      .join("\n");
  const NOW = 1_764_000_000_000;
  const ago = (minutes: number) => String((NOW - minutes * 60_000) * 1_000);
  const idle = (minutes: number) => session({ IdleHint: "yes", IdleSinceHint: ago(minutes) });

  it.each([
    ["one that is used", session({}), { kind: "present" }],
    ["one that is not", idle(10), { kind: "idle", idleMs: 600_000 }],
    ["the one used last", `${idle(10)}\n\n${idle(3)}`, { kind: "idle", idleMs: 180_000 }],
    ["any that is used", `${idle(10)}\n\n${session({})}`, { kind: "present" }],
    ["none but the login screen", session({ Class: "greeter" }), { kind: "away" }],
    ["one that was left", session({ State: "closing" }), { kind: "away" }],
    ["one that says nothing of its time", session({ IdleHint: "yes" }), { kind: "present" }],
    ["a desktop that came back to life", session({ IdleSinceHint: ago(10) }), { kind: "present" }],
    [
      "a terminal, by its last use",
      session({ Type: "tty", IdleSinceHint: ago(10) }),
      { kind: "idle", idleMs: 600_000 },
    ],
    ["a clock that was put back", idle(-5), { kind: "idle", idleMs: 0 }],
    ["nothing", "", { kind: "away" }],
  ])("of sessions: %s", (_, printed, seen) => {
    expect(presenceInSessions(printed, NOW)).toEqual(seen);
  });

  it("is unknown without logind, and away where nobody has logged in", async () => {
    expect(await presenceOnLinux("/nowhere")).toEqual({ kind: "unknown" });
    expect(await presenceOnLinux(supplies({}))).toEqual({ kind: "away" });
  });
});

it("presence on macOS is the idle time of its keyboard", () => {
  expect(presenceOnMac('    |   "HIDIdleTime" = 90000000000\n')).toEqual({ kind: "idle", idleMs: 90_000 });
  expect(presenceOnMac("")).toEqual({ kind: "unknown" });
});

describe("presence on Windows", () => {
  const listed = (...lines: [image: string, session: string, number: number][]) =>
    lines.map(([image, name, number]) => `"${image}","4242","${name}","${number}","9.000 K"\r\n`).join("");
  it.each([
    [
      "a desktop at the console",
      listed(["csrss.exe", "Console", 1], ["explorer.exe", "Console", 1]),
      "present",
    ],
    ["a locked one", listed(["explorer.exe", "Console", 1], ["LogonUI.exe", "Console", 1]), "away"],
    [
      "a remote desktop, while the console shows its login screen",
      listed(["Explorer.EXE", "RDP-Tcp#3", 2], ["LogonUI.exe", "Console", 3]),
      "present",
    ],
    [
      "a desktop that was left running",
      listed(["explorer.exe", "", 2], ["LogonUI.exe", "Console", 3]),
      "away",
    ],
    ["nobody since the start", listed(["LogonUI.exe", "Console", 1]), "away"],
    ["no such program", null, "unknown"],
    ["words in place of a list", "INFORMATION: Es werden keine Aufgaben ausgeführt.\r\n", "unknown"],
  ])("of %s", (_, printed, kind) => {
    expect(presenceOnWindows(printed).kind).toBe(kind);
  });
});

it("where a system only says that nobody is there, absence is counted from when that was first seen", () => {
  const since = absenceSince();
  expect(since({ kind: "away" }, 1_000)).toEqual({ presence: "away", idleMs: 0 });
  expect(since({ kind: "away" }, 61_000)).toEqual({ presence: "away", idleMs: 60_000 });
  expect(since({ kind: "present" }, 70_000)).toEqual({ presence: "present", idleMs: 0 });
  expect(since({ kind: "away" }, 80_000)).toEqual({ presence: "away", idleMs: 0 });
  expect(since({ kind: "unknown" }, 90_000)).toEqual({ presence: "unknown", idleMs: null });
  expect(since({ kind: "idle", idleMs: 299_999 }, 0).presence).toBe("present");
  expect(since({ kind: "idle", idleMs: 300_000 }, 0).presence).toBe("away");
});

describe("memory that is offered", () => {
  it("leaves the owner's part free on the machine, and never exceeds what the virtual machine has", () => {
    const reading = fc.record({
      totalBytes: fc.nat(),
      availableBytes: fc.nat(),
    });
    fc.assert(
      fc.property(reading, fc.option(reading), fc.nat(), (machine, vm, kept) => {
        const offered = offeredMemory(machine, vm, kept);
        for (const of of ["totalBytes", "availableBytes"] as const) {
          expect(offered[of]).toBeGreaterThanOrEqual(0);
          expect(offered[of] === 0 || offered[of] + kept <= machine[of]).toBe(true);
          if (vm !== null) expect(offered[of]).toBeLessThanOrEqual(vm[of]);
        }
      }),
    );
  });

  it.each([
    ["the machine is short", { machine: 4, vm: 12, kept: 1 }, 3],
    ["the virtual machine is short", { machine: 20, vm: 5, kept: 8 }, 5],
    ["the owner keeps all", { machine: 6, vm: 12, kept: 8 }, 0],
  ])("is the smaller where %s", (_, { machine, vm, kept }, offered) => {
    const of = (availableBytes: number) => ({ totalBytes: 32, availableBytes });
    expect(offeredMemory(of(machine), of(vm), kept).availableBytes).toBe(offered);
  });
});

describe("a reading that is taken in the background", () => {
  const everyMs = 5;
  const DEADLINE = { timeout: 20_000, interval: 5 };
  it("is there at once, whether one hangs, and is taken once at a time", async () => {
    let calls = 0;
    const stuck = Promise.withResolvers<number>();
    using slow = gauge(7, () => (++calls === 1 ? Promise.resolve(8) : stuck.promise), { everyMs });
    expect(slow.latest()).toBe(7);
    expect(slow.ageMs()).toBe(Number.POSITIVE_INFINITY);
    await slow.first(60_000);
    await vi.waitUntil(() => calls === 2, DEADLINE);
    await vi.waitUntil(() => slow.ageMs() > 10 * everyMs, DEADLINE);
    expect([slow.latest(), calls]).toEqual([8, 2]);
    stuck.resolve(9);
    await vi.waitUntil(() => slow.latest() === 9, DEADLINE);
  });

  it("is waited for no longer than one has patience, and fails without a word", async () => {
    let calls = 0;
    using failing = gauge(7, () => (++calls === 1 ? Promise.reject(new Error("no")) : Promise.resolve(8)), {
      everyMs,
    });
    using hanging = gauge(7, () => new Promise<number>(() => {}), { everyMs });
    await hanging.first(20);
    await failing.first(60_000);
    expect([hanging.latest(), failing.latest()]).toEqual([7, 8]);
  });
});

describe("a virtual machine", () => {
  const vm = (pressure: number | undefined, available: number) =>
    shortOfMemory({
      totalBytes: 100,
      availableBytes: available,
      ...(pressure === undefined ? {} : { pressure }),
    });

  it("that is busy with finding memory takes nothing more", () => {
    expect(vm(0.34, 10)).toBe("what runs in its virtual machine waits for memory 34 % of the time");
    expect(vm(0.05, 10)).toBeNull();
  });

  it("in which one attempt has come to its own limit does", () => {
    expect(vm(0.9, 60)).toBeNull();
  });

  it("whose kernel does not say, or that is not there, does", () => {
    expect(vm(undefined, 1)).toBeNull();
    expect(shortOfMemory(null)).toBeNull();
  });
});
