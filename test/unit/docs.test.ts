import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { generatedDocs } from "../../scripts/generated-docs.ts";
import { isRecentEnough } from "../../shared/nats-server/requirements.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const read = (file: string) => readFileSync(path.join(ROOT, file), "utf8");

/** Set by the mesh for what it starts, never by a person. */
const OF_ONE_PROCESS_TO_ANOTHER = new Set([
  "MESH_TASK_ID",
  "MESH_ATTEMPT",
  "MESH_LAUNCHER_PID",
  "MESH_SUPERVISOR_STATE",
  "MESH_SUPERVISOR_COMMAND",
  "ANTHROPIC_UNIX_SOCKET",
]);

const filesIn = (...folders: string[]): string[] =>
  folders.flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => /\.(ts|js|md|toml)$/.test(file))
      .map((file) => path.join(folder, file)),
  );

describe("the documentation", () => {
  it.each(Object.entries(generatedDocs))(
    "%s is what the code says (`npm run docs` writes it)",
    (file, write) => {
      expect(read(file)).toBe(write(read(file)));
    },
  );

  it("lists in .env.example every variable that anything reads", () => {
    const told = new Set([...read(".env.example").matchAll(/^#(\w+)=$/gm)].map(([, name = ""]) => name));
    const ours = /\b(?:MESH|NATS|ANTHROPIC|OPENAI)_[A-Z_]*[A-Z]\b/g;
    const files = filesIn("services", "shared", "scripts", "bench", "docs");
    const named = [...files, "README.md", "nats.conf", "docker-compose.yml"]
      .flatMap((file) => read(file).match(ours) ?? [])
      .filter((name) => !OF_ONE_PROCESS_TO_ANOTHER.has(name));
    expect(named.length).toBeGreaterThan(100);
    expect([...new Set(named)].filter((name) => !told.has(name))).toEqual([]);
    expect([...told].filter((name) => !named.includes(name))).toEqual([]);
  });

  it("names only tests that exist, and one at least for each of the ten invariants", () => {
    const guarantees = read("docs/guarantees.md");
    const named = [...guarantees.matchAll(/^- `(test\/[^`]+)`: "(.+)"$/gm)];
    for (const [, file = "", name = ""] of named)
      expect(
        new RegExp(`\\(\\s*"${name.replaceAll(/[$()*+.?[\]^{|}]/g, "\\$&")}"`).test(read(file)),
        `${file} has no test "${name}"`,
      ).toBe(true);
    expect(guarantees.split("\n").filter((line) => line.startsWith("- `test/"))).toHaveLength(named.length);
    const invariants = guarantees.split(/^### /m).slice(1);
    expect(invariants.map((text) => Number.parseInt(text, 10))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for (const text of invariants) expect(text).toMatch(/^- `test\//m);
  });

  it("begins the README with two one-line commands: the main job, then the tests", () => {
    const blocks = [...read("README.md").matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text = ""]) =>
      text.trim(),
    );
    expect(blocks.length).toBeGreaterThanOrEqual(2);
    for (const block of blocks.slice(0, 2)) expect(block.split("\n")).toHaveLength(1);
  });

  it("has compose run a nats-server that is recent enough", () => {
    const version = /image: nats:(\d+\.\d+\.\d+)-alpine/.exec(read("docker-compose.yml"))?.[1] ?? "";
    expect(isRecentEnough(version)).toBe(true);
  });

  it.each([
    "README.md",
    "CONTRIBUTING.md",
    "docs/agents.md",
    "docs/architecture.md",
    "docs/budgets.md",
    "docs/considerate-host.md",
    "docs/guarantees.md",
    "docs/isolation.md",
    "docs/limits.md",
    "docs/operations.md",
    "docs/placement.md",
    "docs/protocol.md",
    "docs/pushing.md",
    "docs/second-machine.md",
    "docs/secrets.md",
    "docs/windows.md",
    "docs/windows-first-run.md",
  ])("%s names only files that exist", (file) => {
    const named = [...read(file).matchAll(/`((?:services|shared|test|docs|bench|scripts)\/[\w./-]+)`/g)];
    for (const [, name = ""] of named) expect(existsSync(path.join(ROOT, name)), name).toBe(true);
  });
});
