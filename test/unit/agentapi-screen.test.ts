// What an agent's screen asks for, by recordings of real ones (Claude Code 2.1.330 in agentapi 0.12.1), and what is typed.
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { questionOn, stateOf, typed } from "../../services/host-agent/runner/agentapi/screen.ts";

const screenOf = (name: string) =>
  readFileSync(path.resolve(import.meta.dirname, `../fixtures/agentapi/${name}.txt`), "utf8").trim();

describe("a question on a screen", () => {
  it.each([
    ["asks-permission", { yes: "\r", no: "\u001b" }],
    // Its Enter would be a choice that nobody has made.
    ["asks-about-mode", { yes: null, no: "\u001b" }],
    ["begun", null],
    ["refused-401", null],
  ])("%s is answered by %j", (name, keys) => {
    const question = questionOn(screenOf(name));
    if (keys === null) expect(question).toBeNull();
    else expect(question).toMatchObject(keys);
  });

  it.each([
    ["Allow command?\n› 1. Yes, proceed (y)\n  2. No (esc)", "\r"],
    ["  1. Yes\n❯ 2. No, exit", null],
    ["Add a.txt to the chat? (Y)es/(N)o [Yes]:", "y\r"],
    ["Overwrite? [y/N]", "y\r"],
    ["Do you trust it?\n❯ Yes, I trust this folder\n  No, exit", "\r"],
    ["Press Enter to continue…", null],
  ])("%j is said yes to by %j", (screen, yes) => {
    expect(questionOn(screen)?.yes).toBe(yes);
    expect(questionOn(`${screen}\n${"It is done.\n".repeat(20)}`)).toBeNull();
  });

  it.each(["", "> a quotation\n> of yesterday", "1. Yes, first.\n2. No more.", "x".repeat(1_000_000)])(
    "is none where a text only says the words (%#)",
    (screen) => {
      expect(questionOn(screen)).toBeNull();
    },
  );
});

describe("a screen", () => {
  const view = { sequence: 1, status: "stable", screen: "It is done.", stillMs: 3_000 };
  it("counts once it is still, and is quiet after its time, unless its agent says that it works", () => {
    expect(stateOf({ ...view, stillMs: 1_750 }, 5_000)).toBe("busy");
    expect(stateOf(view, 5_000)).toBe("still");
    expect(stateOf({ ...view, stillMs: 5_000 }, 5_000)).toBe("quiet");
    expect(stateOf({ ...view, status: "running", stillMs: 60_000 }, 5_000)).toBe("busy");
    expect(stateOf({ ...view, status: "running", screen: screenOf("asks-permission") }, 5_000)).toBe("still");
  });
});

describe("what is typed", () => {
  it("holds no key that a terminal would obey", () => {
    expect(typed(" Mend\r\nit.\u001b[201~\r\u0003rm -rf\t\u0085")).toBe("Mend\nit.[201~\nrm -rf");
  });
});
