import fc from "fast-check";
import { expect, test } from "vitest";
import { insideArguments, isDistroName } from "../../services/host-agent/wsl/command-line.ts";
import { distrosIn, versionIn } from "../../services/host-agent/wsl/listing.ts";
import { linesOf, textOf } from "../../services/host-agent/wsl/output-text.ts";
import { codeIn, failureIn, reasonOf } from "../../services/host-agent/wsl/wsl-error.ts";

const utf16 = (text: string) => Buffer.from(text, "utf16le");

const CHINESE = "没有具有所提供名称的分发。\r\n错误代码: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\r\n";

test("text is read whichever way wsl.exe encodes it", () => {
  const english = "There is no distribution with the supplied name.\r\nError code: Wsl/Service/X\r\n";
  for (const text of ["", english, CHINESE, "上一个下一个\r\n错误\r\n", "é\r\n"]) {
    expect(textOf(utf16(text))).toBe(text);
    expect(textOf(Buffer.from(text))).toBe(text);
  }
});

test("whatever bytes it prints are text, and half a unit at their end is left out", () => {
  const half = Buffer.concat([utf16(CHINESE), Buffer.from("x")]);
  expect(textOf(half)).toBe(CHINESE);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5_000, size: "max" }), fc.nat(600), (bytes, at) => {
      expect(textOf(Buffer.from(bytes).subarray(at)).length).toBeLessThanOrEqual(bytes.length);
    }),
  );
});

test("Chinese UTF-16 is known for what it is where no byte of it is a NUL", () => {
  const text = "没有具有所提供名称的分发。";
  expect(utf16(text).includes(0)).toBe(false);
  expect(textOf(utf16(text))).toBe(text);
});

test("what a Linux process printed before, in UTF-8, does not spoil the words of wsl.exe after it", () => {
  for (const printed of ["", "ready\n", "grüße\n上\n", "line one\nline two!\n", "no line end"])
    for (const own of [CHINESE, "Error code: Wsl/Service/E_UNEXPECTED\r\n"]) {
      const mixed = Buffer.concat([Buffer.from(printed), utf16(own)]);
      expect(codeIn(textOf(mixed))).toBe(codeIn(own));
    }
});

test("a doubled carriage return ends one line, not two", () => {
  expect(linesOf("Ubuntu\r\r\nother\r\r\n\r\r\n")).toEqual(["Ubuntu", "other"]);
});

test("the code is taken from the last line, and what a process prints before it is none", () => {
  expect(codeIn("Error code: Wsl/Service/E_UNEXPECTED\r\nall is well\r\n")).toBeNull();
  expect(failureIn(CHINESE, "")).toMatchObject({
    reason: "no-such-distro",
    code: "Wsl/Service/WSL_E_DISTRO_NOT_FOUND",
  });
  expect(failureIn("Windows Subsystem for Linux has no installed distributions.\r\n", "")).toMatchObject({
    reason: "unknown",
    code: null,
  });
});

test("the last segment of a code decides, wherever the failure came up", () => {
  for (const code of [
    "Wsl/E_UNEXPECTED",
    "Wsl/Service/E_UNEXPECTED",
    "Wsl/Service/CreateInstance/E_UNEXPECTED",
  ])
    expect(reasonOf(code)).toBe("service-broken");
  expect(reasonOf("Wsl/Service/CreateInstance/0x8007274c")).toBe("service-broken");
  expect(reasonOf("Wsl/Service/CreateInstance/MountDisk/HCS/ERROR_SHARING_VIOLATION")).toBe("disk-in-use");
  expect(reasonOf("Wsl/Service/SOMETHING_NEW")).toBe("unknown");
});

test("distros are read by columns, whatever the heading says", () => {
  const table = [
    "  名称         状态            版本",
    "* Ubuntu-24    Running         2",
    "  slot-03      Stopped         1",
  ];
  expect(distrosIn(`${table.join("\r\n")}\r\n`)).toEqual([
    { name: "Ubuntu-24", isDefault: true, state: "Running", wslVersion: 2 },
    { name: "slot-03", isDefault: false, state: "Stopped", wslVersion: 1 },
  ]);
  expect(distrosIn("")).toEqual([]);
});

test("versions are read by the order of lines, in any language", () => {
  const printed = [
    "WSL 版本： 2.7.11.0",
    "内核版本： 6.18.33.2-2",
    "WSLg 版本： 1.0.71",
    "Windows 版本： 10.0.26100.1",
  ];
  expect(versionIn(printed.join("\r\n"))).toEqual({
    wsl: "2.7.11.0",
    kernel: "6.18.33.2-2",
    windows: "10.0.26100.1",
  });
  expect(versionIn("Usage: wsl.exe [Argument]\r\n")).toBeNull();
});

test("a command goes inside as argv, from /, and never as words for a shell", () => {
  const argv = ["/usr/bin/env", "", "$HOME `x`", 'a "quoted" \\ one'];
  expect(insideArguments({ distro: "agent-mesh-golden", user: "root", argv })).toEqual(
    ["-d", "agent-mesh-golden", "-u", "root", "--cd", "/", "-e"].concat(argv),
  );
});

test.each([
  ["a distro with a blank", { distro: "my distro", user: "root", argv: ["/bin/true"] }],
  ["an option for a distro", { distro: "a --shutdown", user: "root", argv: ["/bin/true"] }],
  ["an option for a user", { distro: "a", user: "-e", argv: ["/bin/true"] }],
  ["a program without a path", { distro: "a", user: "root", argv: ["true"] }],
  ["a program with a blank", { distro: "a", user: "root", argv: ["/opt/my programs/x"] }],
  ["no program", { distro: "a", user: "root", argv: [] }],
  ["a NUL", { distro: "a", user: "root", argv: ["/bin/echo", "a\0b"] }],
  ["a line that is too long", { distro: "a", user: "root", argv: ["/bin/echo", "x".repeat(33_000)] }],
])("%s is refused before it reaches wsl.exe", (_, command) => {
  expect(() => insideArguments(command)).toThrow(/name|expected|NUL|line/);
});

test("names are names of distros only as far as wsl.exe takes them", () => {
  expect(["a", "agent-mesh-slot_1.2", "x".repeat(256)].every(isDistroName)).toBe(true);
  expect(["", "a b", "Legacy", "ä", "x".repeat(257), 'a"'].some(isDistroName)).toBe(false);
});
