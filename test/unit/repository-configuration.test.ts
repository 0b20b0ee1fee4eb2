// `.agent-mesh.toml`: what a repository may say there, and what it may not raise.
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { gatesOf } from "../../services/host-agent/attempt/gates.ts";
import {
  readConfiguration,
  templateFilesIn,
  withLimits,
} from "../../services/host-agent/attempt/repository-configuration.ts";
import { REQUEST_DEFAULTS } from "../../shared/contracts/deploy-request.ts";
import { request } from "../support/facts.ts";

const FILE = ".agent-mesh.toml of main";

function read(text: string | null) {
  const found = readConfiguration(text, FILE);
  if (!found.ok)
    throw new Error(`${found.failure.category} ${found.failure.permanent}: ${found.failure.message}`);
  return found.configuration;
}

describe("a repository's configuration", () => {
  it("is the example in the docs", async () => {
    const text = await readFile("docs/agent-mesh.example.toml", "utf8");
    expect(Object.keys(read(text).gates)).toEqual(["setup", "lint", "tests", "build"]);
    expect(read(text).secrets).toEqual(["NPM_TOKEN"]);
    expect(templateFilesIn(text)).toEqual([".agent-mesh/code_analysis.md"]);
    expect(read(text).prompts.fix).toContain("{{pullRequest}}");
    expect(read(text).limits.memoryBytes).toBeGreaterThan(0);
  });

  it("is not needed", () => {
    expect(read(null)).toEqual({ gates: {}, prompts: {}, secrets: [], network: {}, limits: {} });
    expect(read("")).toEqual(read(null));
  });

  it.each([
    ["[gate]\n", 'unknown field "gate"; did you mean "gates"?'],
    ['[gates]\ntest = "x"', 'gates: unknown field "test"; did you mean "tests"?'],
    ["[gates]\ntests = []", "gates.tests: "],
    ['[prompts]\nrepair = "x"', "prompts"],
    ["[limits]\nmemoryBytes = -1", "limits.memoryBytes: "],
    ['[gates]\ntests = "x', ":2:"],
    [`[prompts]\nfix = "${"x".repeat(20_000)}"`, "prompts.fix: expected 16384 characters at most"],
    ["[prompts]\nfix = 1", "prompts.fix: expected a template, or { file ="],
    ...["../fix.md", "/etc/passwd", "a//b", "-x/fix.md", "fix.md/", "a b", ":(glob)*", ".", "a/.."].map(
      (file): [string, string] => [
        `[prompts]\nfix = { file = "${file}" }`,
        "prompts.fix.file: expected the path of a file from the top of the base branch",
      ],
    ),
  ])("that says %j is refused for good, with the file and the key", (text, words) => {
    expect(() => read(text)).toThrow(`setup true: ${FILE}`);
    expect(() => read(text)).toThrow(words);
  });

  it("has its gates run in their order, before the checks of a request", () => {
    const configuration = read('[gates]\nbuild = "b"\ntests = ["t"]\nsetup = "s"');
    const gates = gatesOf(configuration, { checks: ["c"] });
    expect(gates.map(({ gate, log }) => [gate, log])).toEqual([
      ["setup", "gate-setup"],
      ["tests", "gate-tests"],
      ["build", "gate-build"],
      ["check", "check-1"],
    ]);
  });

  it("lowers limits, and raises none", () => {
    const { limits } = read(
      "[limits]\nprocesses = 100\ncpus = 64\ntimeoutMs = 1_000\nmemoryBytes = 99_000_000_000",
    );
    const asked = request({ timeoutMs: 5_000, limits: { cpus: 3 } });
    expect(withLimits(asked, { limits })).toMatchObject({
      request: {
        timeoutMs: 1_000,
        limits: { processes: 100, cpus: 3, memoryBytes: REQUEST_DEFAULTS.memoryLimitBytes },
      },
      tooHigh: ["memoryBytes", "cpus"],
    });
  });
});
