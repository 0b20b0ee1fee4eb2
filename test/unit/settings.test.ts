// The hot configuration's rules: what a setting may be, and what a person is told of one that is none.
import { describe, expect, it } from "vitest";
import { valueIn } from "../../services/cli/fleet/config.ts";
import { parseDuration } from "../../shared/config/quantities.ts";
import { RETRY_DEFAULTS, retryTable } from "../../shared/config/retry-table.ts";
import { DEFAULT_SETTINGS, viewSettings, withSetting } from "../../shared/config/settings.ts";

describe("a setting", () => {
  it("takes the place of the one before, and of no other", () => {
    const once = withSetting(DEFAULT_SETTINGS, "task.timeoutGraceMs", 5_000);
    expect(once).toEqual({ ok: true, settings: { ...DEFAULT_SETTINGS, "task.timeoutGraceMs": 5_000 } });
    const again = once.ok && withSetting(once.settings, "task.timeoutGraceMs", undefined);
    expect(again).toEqual({ ok: true, settings: DEFAULT_SETTINGS });
  });

  it.each([
    ["task.timeoutGraceMs", "soon", "task.timeoutGraceMs: expected whole milliseconds from 0 to 86400000"],
    ["task.timeoutGraceMs", -1, "task.timeoutGraceMs: expected whole milliseconds from 0 to 86400000"],
    ["task.timeoutGraceMs", 1.5, "task.timeoutGraceMs: expected whole milliseconds from 0 to 86400000"],
    ["task.timeoutGraceMs", null, "task.timeoutGraceMs: expected whole milliseconds from 0 to 86400000"],
    ["task.timeoutGracceMs", 1, 'unknown field "task.timeoutGracceMs"; did you mean "task.timeoutGraceMs"?'],
    ["log.level", "loud", 'log.level: Invalid option: expected one of "trace"'],
    ["__proto__", 1, "unknown field"],
  ])("%s = %j is refused with what was expected", (key, value, problem) => {
    expect(withSetting(DEFAULT_SETTINGS, key, value)).toMatchObject({
      ok: false,
      problem: expect.stringContaining(problem) as string,
    });
  });

  it("that is wrong is shown with its problem, and the default holds", () => {
    const [wrong] = viewSettings(new Map([["task.timeoutGraceMs", "soon"]])).filter(
      ({ problem }) => problem !== null,
    );
    expect(wrong).toMatchObject({ key: "task.timeoutGraceMs", value: 300_000, isSet: true });
  });
});

it("of the retry table changes one rule of one category, over what the file says", () => {
  const table = retryTable({ host: { capMs: 9, baseMs: 8 } }, { host: { capMs: 7 } });
  expect(table).toEqual({ ...RETRY_DEFAULTS, host: { ...RETRY_DEFAULTS.host, baseMs: 8, capMs: 7 } });
  expect(withSetting(DEFAULT_SETTINGS, "retries", { host: { capMs: -1 } })).toMatchObject({ ok: false });
});

describe("a value on the command line", () => {
  it.each([
    ["task.timeoutGraceMs", "90s", 90_000],
    ["task.timeoutGraceMs", "90000", 90_000],
    ["task.timeoutGraceMs", "soon", "soon"],
    ["log.level", "debug", "debug"],
    ["log.level", "null", null],
    ["log.level", "5s", "5s"],
  ])("%s %s is %j", (key, text, value) => {
    expect(valueIn(key, text, parseDuration)).toBe(value);
  });
});
