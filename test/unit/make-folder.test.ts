import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { makeFolder } from "../../shared/process/make-folder.ts";

const folder = mkdtempSync(path.join(tmpdir(), "mesh-folder-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("a folder that a person names", () => {
  it("is made with those above it, and is as good if it is there", () => {
    const deep = path.join(folder, "a", "b", "c");
    for (const _ of [1, 2]) makeFolder(deep, 0o700);
    if (process.platform !== "win32")
      for (const made of [deep, path.join(folder, "a")]) expect(statSync(made).mode & 0o777).toBe(0o700);
    expect(() => makeFolder(tmpdir())).not.toThrow();
  });

  it("is refused where a file is in the way", () => {
    const file = path.join(folder, "file");
    writeFileSync(file, "");
    expect(() => makeFolder(file)).toThrow("EEXIST");
    expect(() => makeFolder(path.join(file, "a", "b"))).toThrow("ENOTDIR");
  });

  it.runIf(process.platform === "linux")("is refused below /proc, where Node's own way never ends", () => {
    for (const nowhere of ["/proc/mesh", "/proc/mesh/a/b"])
      expect(() => makeFolder(nowhere)).toThrow("ENOENT: no such file or directory, mkdir '/proc/mesh'");
  });
});
