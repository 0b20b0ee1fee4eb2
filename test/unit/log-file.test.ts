import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { openLogFile } from "../../shared/service/log-file.ts";

function logFolder(): { folder: string; file: string } {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-log-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return { folder, file: path.join(folder, "below", "host.log") };
}

it("a log puts full pieces aside, keeps the last four, and loses no line of those", () => {
  const { file } = logFolder();
  const log = openLogFile(file, 20);
  for (let number = 10; number < 40; number++) log.write(`line ${number}\n`);
  expect(readdirSync(path.dirname(file)).toSorted()).toEqual(
    ["", ".1", ".2", ".3", ".4"].map((end) => `host.log${end}`),
  );
  const text = [".4", ".3", ".2", ".1", ""].map((end) => readFileSync(file + end, "utf8")).join("");
  const kept = text.trimEnd().split("\n");
  expect(kept).toEqual(Array.from(kept, (_, index) => `line ${40 - kept.length + index}`));
  expect(kept.length).toBeGreaterThanOrEqual(12);
});

it("a full piece that cannot be put aside costs no line, neither of its own nor of older ones", () => {
  const { file } = logFolder();
  const log = openLogFile(file, 20);
  const write = (from: number, to: number) => {
    for (let number = from; number < to; number++) log.write(`line ${number}\n`);
  };
  write(10, 20);
  const older = readFileSync(`${file}.1`, "utf8");
  mkdirSync(`${file}.0/in-the-way`, { recursive: true });
  write(20, 40);
  expect(readFileSync(`${file}.1`, "utf8")).toBe(older);
  expect(readFileSync(file, "utf8")).toMatch(/line 20\n[^]*line 39\n$/);
  rmSync(`${file}.0`, { recursive: true });
  write(40, 42);
  expect(readFileSync(file, "utf8")).toBe("line 40\nline 41\n");
  expect(readFileSync(`${file}.2`, "utf8")).toBe(older);
});

it("a log that was begun before is gone on with, and only its owner reads it", () => {
  const { file } = logFolder();
  openLogFile(file).write("first\n");
  openLogFile(file).write("second\n");
  expect(readFileSync(file, "utf8")).toBe("first\nsecond\n");
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

it("a log that cannot be opened is an error at once", () => {
  const { folder, file } = logFolder();
  writeFileSync(path.join(folder, "below"), "a file where a folder should be");
  expect(() => openLogFile(file)).toThrow(expect.objectContaining({ code: "EEXIST" }));
});
