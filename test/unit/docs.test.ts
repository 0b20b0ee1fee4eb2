import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { generatedDocs } from "../../scripts/generated-docs.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const read = (file: string) => readFileSync(path.join(ROOT, file), "utf8");

describe("the documentation", () => {
  it.each(Object.entries(generatedDocs))(
    "%s is what the code says (`npm run docs` writes it)",
    (file, write) => {
      expect(read(file)).toBe(write(read(file)));
    },
  );

  it("begins the README with two one-line commands: the main job, then the tests", () => {
    const blocks = [...read("README.md").matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text = ""]) =>
      text.trim(),
    );
    expect(blocks.length).toBeGreaterThanOrEqual(2);
    for (const block of blocks.slice(0, 2)) expect(block.split("\n")).toHaveLength(1);
  });

  it.each([
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/protocol.md",
    "docs/second-machine.md",
  ])("%s names only files that exist", (file) => {
    const named = [...read(file).matchAll(/`((?:services|shared|test|docs|bench|scripts)\/[\w./-]+)`/g)];
    for (const [, name = ""] of named) expect(existsSync(path.join(ROOT, name)), name).toBe(true);
  });
});
