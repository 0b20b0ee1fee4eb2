// When a machine's owner lets the mesh use it: the words, the hours through midnight and jumps of the clock, the decision.
import fc from "fast-check";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type ConsiderationOptions,
  startConsideration,
} from "../../services/host-agent/owner/consideration.ts";
import { toHandBack } from "../../services/host-agent/owner/hand-back.ts";
import { isWithin, nextChange, type OffsetAt } from "../../services/host-agent/owner/hours.ts";
import { whyWithheld } from "../../services/host-agent/owner/may-work.ts";
import { readEnvironment } from "../../shared/config/environment.ts";
import { ALWAYS, type Hours, parseWhen, type When } from "../../shared/config/when.ts";
import type { OwnerReading } from "../../shared/contracts/heartbeat.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 1_440 * MINUTE_MS;

const when = (text: string): When => {
  const parsed = parseWhen(text);
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.when;
};
const hours = (text: string): Hours => {
  const [[condition] = []] = when(text);
  if (condition?.kind !== "hours") throw new Error(`${text} is no hours`);
  return condition;
};
const utc: OffsetAt = () => 0;
/** One hour ahead, and two in summer: from 2026-03-29 01:00 to 2026-10-25 01:00 UTC. */
const berlin: OffsetAt = (ms) => (ms >= Date.UTC(2026, 2, 29, 1) && ms < Date.UTC(2026, 9, 25, 1) ? 120 : 60);
const at = (text: string) => Date.parse(text);

describe("the words of a rule", () => {
  it.each([
    "",
    "   ",
    "never",
    "idle",
    "idle 0m",
    "idle 30s",
    "idle 15",
    "18:00",
    "18:00-18:00",
    "24:00-08:00",
    "25:00-26:00",
    "18:60-20:00",
    "mon-",
    "-fri",
    "mon-fri-sat",
    "mo-fr",
    "mon fri",
    "always and ac",
    "ac or",
    "ac and and idle 5m",
    "mon-fri 18:00-08:00;rm",
  ])("are refused where nobody can tell what they mean, with examples: %j", (text) => {
    const parsed = parseWhen(text);
    expect(parsed).toMatchObject({
      ok: false,
      message: expect.stringContaining("mon-fri 18:00-08:00") as string,
    });
  });

  it("are refused in a few words, however many there are", () => {
    const parsed = parseWhen(`${"ac or ".repeat(10_000)}${"x".repeat(100_000)}`);
    expect(JSON.stringify(parsed).length).toBeLessThan(400);
  });

  it("are refused in the environment with the variable's name", () => {
    expect(() => readEnvironment({ MESH_HOST_WHEN: "at night" })).toThrow(/MESH_HOST_WHEN: expected always/);
    // Its words travel with every heartbeat.
    expect(() => readEnvironment({ MESH_HOST_WHEN: "ac or ".repeat(1_000) })).toThrow(
      /MESH_HOST_WHEN: .*1000/,
    );
    expect(() => readEnvironment({ MESH_HOST_GRACE: "soon" })).toThrow(/MESH_HOST_GRACE: expected finish/);
    expect(() => readEnvironment({ MESH_HOST_KEEP_MEMORY: "8" })).toThrow(/MESH_HOST_KEEP_MEMORY: .*8GB/);
    expect(readEnvironment({})).toMatchObject({ MESH_HOST_WHEN: ALWAYS, MESH_HOST_GRACE: null });
  });

  it("bind by and before or, whatever their case and spaces", () => {
    const kinds = when("  AC  and idle 15m OR Mon-Fri 18:00 - 8:00 or sat,sun").map((conditions) =>
      conditions.map(({ kind }) => kind),
    );
    expect(kinds).toEqual([["ac", "idle"], ["hours"], ["hours"]]);
  });

  it.each([
    ["fri-mon", [0, 1, 5, 6]],
    ["mon,wed-thu 9:00-17:00", [1, 3, 4]],
    ["9:00-17:00", [0, 1, 2, 3, 4, 5, 6]],
  ])("%s names its days", (text, days) => {
    expect([...hours(text).days].toSorted((one, other) => one - other)).toEqual(days);
  });
});

describe("hours", () => {
  it.each([
    ["mon-fri 18:00-08:00", "2026-11-27T17:59:00Z", false],
    ["mon-fri 18:00-08:00", "2026-11-27T18:00:00Z", true],
    // Saturday morning still belongs to the night that began on Friday; Sunday night to nobody.
    ["mon-fri 18:00-08:00", "2026-11-28T07:59:59Z", true],
    ["mon-fri 18:00-08:00", "2026-11-28T08:00:00Z", false],
    ["mon-fri 18:00-08:00", "2026-11-30T07:00:00Z", false],
    ["sat-sun", "2026-11-29T23:59:59Z", true],
    ["sat-sun", "2026-11-30T00:00:00Z", false],
  ])("%s at %s: %s", (text, time, within) => {
    expect(isWithin(hours(text), at(time), utc)).toBe(within);
  });

  it.each([
    // Clocks go from 02:00 to 03:00 on 29 March: what begins at 02:30 begins at the jump.
    ["2:30-4:00", "2026-03-29T00:10:00Z", "2026-03-29T01:00:00Z"],
    ["0:00-6:00", "2026-03-29T00:10:00Z", "2026-03-29T04:00:00Z"],
    // On 25 October 02:00 to 03:00 comes twice.
    ["0:00-6:00", "2026-10-24T23:00:00Z", "2026-10-25T05:00:00Z"],
    ["0:00-2:30", "2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z"],
    ["2:30-4:00", "2026-10-25T00:40:00Z", "2026-10-25T01:00:00Z"],
  ])("%s follow the clock on the wall where it jumps: from %s until %s", (text, now, then) => {
    expect(nextChange(hours(text), at(now), berlin)).toBe(at(then));
  });

  it("change at the moment that is named and not before, whenever clocks jump", () => {
    const minute = fc.integer({ min: 0, max: 1_439 });
    const drawn = fc.record({
      days: fc.uniqueArray(fc.integer({ min: 0, max: 6 }), { minLength: 1 }),
      fromMinute: minute,
      toMinute: fc.integer({ min: 0, max: 1_440 }),
      now: fc.integer({ min: 0, max: 20 * DAY_MS }),
      jumpAt: fc.integer({ min: 0, max: 20 * 1_440 }).map((minutes) => minutes * MINUTE_MS),
      before: fc.integer({ min: -48, max: 56 }).map((quarters) => quarters * 15),
      jump: fc.constantFrom(-60, -30, 0, 30, 60),
    });
    fc.assert(
      fc.property(drawn, ({ days, fromMinute, toMinute, now, jumpAt, before, jump }) => {
        fc.pre(fromMinute !== toMinute);
        const some: Hours = { kind: "hours", days: new Set(days), fromMinute, toMinute };
        const offsetAt: OffsetAt = (ms) => (ms < jumpAt ? before : before + jump);
        const found = nextChange(some, now, offsetAt);
        const says = isWithin(some, now, offsetAt);
        let expected: number | null = null;
        for (let ms = Math.floor(now / MINUTE_MS + 1) * MINUTE_MS; ms < now + 9 * DAY_MS; ms += MINUTE_MS)
          if (isWithin(some, ms, offsetAt) !== says) {
            expected = ms;
            break;
          }
        expect(found).toBe(expected);
      }),
      { numRuns: 200 },
    );
  });

  it("of the whole week never change", () => {
    expect(nextChange(hours("0:00-24:00"), at("2026-11-27T12:00:00Z"), berlin)).toBeNull();
  });
});

describe("whether work may begin", () => {
  const NOON = at("2026-11-27T12:00:00Z");
  const here = (overrides: Partial<OwnerReading> = {}): OwnerReading => ({
    power: "ac",
    presence: "present",
    idleMs: 2 * MINUTE_MS,
    ...overrides,
  });
  const why = (text: string, reading: OwnerReading = here()) =>
    whyWithheld(when(text), null, reading, NOON, utc);

  it("is a matter of course where the owner has said nothing, even if nothing is known", () => {
    expect(why("always", { power: "unknown", presence: "unknown", idleMs: null })).toBeNull();
  });

  it.each([
    ["idle 15m", here(), "its owner is using it (idle for 2 of 15 min)", null],
    ["idle 15m", here({ presence: "away", idleMs: 15 * MINUTE_MS }), null, null],
    [
      "idle 15m",
      here({ presence: "unknown", idleMs: null }),
      "nobody can tell whether its owner is using it",
      null,
    ],
    ["ac", here({ power: "battery" }), "it runs on battery", null],
    ["ac", here({ power: "unknown" }), "nobody can tell whether it runs on battery", null],
    ["mon-fri 18:00-08:00", here(), "it is not within mon-fri 18:00-08:00", "2026-11-27T18:00:00.000Z"],
    ["12:00-13:00", here(), null, null],
    ["idle 15m or 12:00-13:00", here(), null, null],
    ["ac and 12:00-13:00", here({ power: "battery" }), "it runs on battery", null],
    [
      "ac and idle 15m or 22:00-6:00 or 20:00-21:00 and sat",
      here({ power: "battery" }),
      "it runs on battery, and its owner is using it (idle for 2 of 15 min), and it is not within 22:00-6:00, and it is not within 20:00-21:00, and it is not within sat",
      "2026-11-27T22:00:00.000Z",
    ],
  ])("%s, %j: %s", (text, reading, words, until) => {
    expect(why(text, reading)).toEqual(words === null ? null : { why: words, until });
  });

  it("is no question while the owner has paused it, for as long as that was said to last", () => {
    const paused = (untilMs: number | null) =>
      whyWithheld(ALWAYS, { untilMs, handBack: false }, here(), NOON, utc);
    expect(paused(null)).toEqual({ why: "its owner has paused it", until: null });
    expect(paused(NOON + 1)).toMatchObject({ until: "2026-11-27T12:00:00.001Z" });
    expect(paused(NOON)).toBeNull();
  });

  it("is never let begin by knowing less", () => {
    const condition = fc.constantFrom("ac", "idle 5m", "9:00-10:00", "sat", "12:00-13:00");
    const rule = fc
      .array(fc.array(condition, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 })
      .map((alternatives) => alternatives.map((all) => all.join(" and ")).join(" or "));
    const reading = fc.record({
      power: fc.constantFrom<OwnerReading["power"]>("ac", "battery", "unknown"),
      presence: fc.constantFrom<OwnerReading["presence"]>("present", "away", "unknown"),
      idleMs: fc.option(fc.integer({ min: 0, max: 20 * MINUTE_MS })),
    });
    fc.assert(
      fc.property(rule, reading, (text, known) => {
        const less: Partial<OwnerReading>[] = [
          { power: "unknown" },
          { presence: "unknown" },
          { idleMs: null },
        ];
        for (const unknown of less)
          if (why(text, { ...known, ...unknown }) === null) expect(why(text, known)).toBeNull();
      }),
    );
  });
});

describe("what runs when the owner needs the machine", () => {
  const now = { atWork: 3, withheldForMs: null, atOnce: false, lackingForMs: null };

  it("finishes, unless the owner set a time after which it goes, or wants the machine at once", () => {
    expect(toHandBack({ ...now, withheldForMs: 9e9 }, null)).toBeNull();
    expect(toHandBack({ ...now, withheldForMs: 599_999 }, 600_000)).toBeNull();
    expect(toHandBack({ ...now, withheldForMs: 600_000 }, 600_000)).toEqual({
      count: 3,
      because: "withheld",
    });
    expect(toHandBack({ ...now, withheldForMs: 0, atOnce: true }, null)).toEqual({
      count: 3,
      because: "withheld",
    });
  });

  it("gives up its youngest attempt only once the owner's memory has been short for a while", () => {
    expect(toHandBack({ ...now, lackingForMs: 19_999 }, null)).toBeNull();
    expect(toHandBack({ ...now, lackingForMs: 20_000 }, null)).toEqual({ count: 1, because: "memory" });
    expect(toHandBack({ ...now, atWork: 0, lackingForMs: 20_000 }, null)).toBeNull();
  });
});

describe("a host that keeps to its owner's rules", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("hands work back once the time that the owner gave it is over, and not if the owner has left meanwhile", () => {
    let power: OwnerReading["power"] = "ac";
    const { handed, changes, withheld, stop } = keep({ rule: "ac", graceMs: 600_000, power: () => power });
    vi.advanceTimersByTime(3_600_000);
    expect([withheld(), handed]).toEqual([null, []]);
    power = "battery";
    vi.advanceTimersByTime(599_000);
    power = "ac";
    vi.advanceTimersByTime(3_600_000);
    expect(handed).toEqual([]);
    power = "battery";
    vi.advanceTimersByTime(599_000);
    expect(handed).toEqual([]);
    vi.advanceTimersByTime(2_000);
    expect(handed[0]).toEqual([2, "host h1 handed it back: it runs on battery"]);
    expect(changes()).toBe(3);
    stop();
  });

  it("hands back one attempt after the other while the owner's memory is short, and no more once it is free", () => {
    let availableBytes = 8e9;
    const { handed, stop } = keep({ keptBytes: 4e9, availableBytes: () => availableBytes });
    vi.advanceTimersByTime(3_600_000);
    availableBytes = 3e9;
    vi.advanceTimersByTime(15_000);
    availableBytes = 5e9;
    vi.advanceTimersByTime(15_000);
    expect(handed).toEqual([]);
    availableBytes = 3e9;
    vi.advanceTimersByTime(45_000);
    availableBytes = 5e9;
    vi.advanceTimersByTime(3_600_000);
    const why = "host h1 handed it back: less memory is free than its owner keeps";
    expect(handed).toEqual([
      [1, why],
      [1, why],
    ]);
    stop();
  });

  function keep({
    rule = "always",
    power = () => "ac",
    ...wanted
  }: Partial<ConsiderationOptions> & { rule?: string; power?: () => OwnerReading["power"] }) {
    const handed: [count: number, message: string][] = [];
    let changes = 0;
    const consideration = startConsideration({
      hostId: "h1",
      when: when(rule),
      graceMs: null,
      keptBytes: 0,
      owner: () => ({ power: power(), presence: "unknown", idleMs: null }),
      pause: () => null,
      availableBytes: () => 8e9,
      atWork: () => 2,
      handBack: (count, message) => void handed.push([count, message]),
      onChange: () => void changes++,
      log: pino({ level: "silent" }),
      ...wanted,
    });
    return {
      handed,
      changes: () => changes,
      withheld: consideration.withheld,
      stop: () => consideration[Symbol.dispose](),
    };
  }
});
