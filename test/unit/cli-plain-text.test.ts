// Text of others on its way to a terminal can do nothing there.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EscapeStripper, jsonLine, plainLine, plainText } from "../../services/cli/terminal/plain-text.ts";
import { cut, widthOf } from "../../services/cli/terminal/table.ts";

const HARMFUL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

describe("plain text", () => {
  it.each([
    ["\u001b[31mred\u001b[0m", "red"],
    ["\u001b]0;title\u0007after", "after"],
    ["\u001b]8;;https://evil\u001b\\link\u001b]8;;\u001b\\", "link"],
    ["\u001bPq#0\u001b\\sixel", "sixel"],
    ["\u001b(Bcharset", "charset"],
    ["\u009b31mC1", "C1"],
    ["\u001b[2J\u001b[Hcleared", "cleared"],
    ["bell\u0007 back\bspace null\u0000", "bell backspace null"],
    ["a\tb\nc", "a\tb\nc"],
    ["10 %\r20 %\r\ndone", "10 %\n20 %\ndone"],
    ["\u202egpj.exe", "gpj.exe"],
    ["日本 ✓ 😀", "日本 ✓ 😀"],
  ])("of %j is %j", (text, plain) => {
    expect(plainText(text)).toBe(plain);
  });

  it("is not swallowed by a sequence that never ends", () => {
    expect(plainText("\u001b]0;never ended\nthe next line")).toBe("\nthe next line");
  });

  it("is the same however the text is cut", () => {
    const piece = fc.constantFrom(
      "\u001b",
      "[",
      "]",
      "31m",
      "\u0007",
      "\\",
      "text",
      "\n",
      "\r",
      "\u009b",
      "P",
      "(",
      "B",
    );
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const stripper = new EscapeStripper();
        expect(pieces.map((part) => stripper.push(part)).join("")).toBe(plainText(pieces.join("")));
      }),
    );
  });

  it("holds nothing harmful, whatever came in", () => {
    const character = fc.integer({ min: 0, max: 0x2070 }).map((code) => String.fromCharCode(code));
    fc.assert(
      fc.property(fc.array(character), (characters) => {
        expect(plainText(characters.join(""))).not.toMatch(HARMFUL);
        expect(plainLine(characters.join(""))).not.toMatch(/[\n\t]/);
      }),
    );
  });

  it("in JSON is harmless as bytes, and the same value", () => {
    const value = { text: "\u001b[31m \u009b31m \u007f \u202e" };
    expect(jsonLine(value).trimEnd()).not.toMatch(HARMFUL);
    expect(JSON.parse(jsonLine(value))).toEqual(value);
  });
});

describe("a line", () => {
  it("is cut to the terminal's width, wide characters counted twice", () => {
    expect(widthOf("日本")).toBe(4);
    expect(cut("日本語 text", 6)).toBe("日本…");
    expect(cut("short", 10)).toBe("short");
  });
});
