// What people write on the command line: sizes, durations, repositories, and the flags of `mesh deploy`.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../services/cli/outcome.ts";
import { requestFromFlags, requestFromText } from "../../services/cli/tasks/deploy-request.ts";
import { parseRepository } from "../../services/cli/tasks/repository.ts";
import { formatDuration, formatSize } from "../../services/cli/terminal/quantities.ts";
import { parseDuration, parseSize } from "../../shared/config/quantities.ts";
import { RepositoryName } from "../../shared/contracts/ids.ts";

const SHA = "0123456789abcdef0123456789abcdef01234567";
const flags = (overrides: Parameters<typeof requestFromFlags>[0] = {}) => ({
  repo: "acme/shop",
  prBranch: "fix",
  sha: SHA,
  ...overrides,
});
const refusal = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error("it was not refused");
};

describe("a size", () => {
  it.each([
    ["2GB", 2_000_000_000],
    ["512MB", 512_000_000],
    ["1GiB", 1_073_741_824],
    ["1.5g", 1_500_000_000],
    ["256Mi", 268_435_456],
    ["64 kb", 64_000],
    ["4096B", 4_096],
  ])("%s is %d bytes", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(["2", "", "GB", "-1GB", "0GB", "2XB", "2GBs", "1e9GB", "NaNGB"])("%j is none", (text) => {
    expect(parseSize(text)).toBeNull();
  });

  it("is written in powers of ten", () => {
    expect([312, 1_200, 16_800_000_000].map(formatSize)).toEqual(["312 B", "1.2 kB", "16.8 GB"]);
  });
});

describe("a duration", () => {
  it.each([
    ["90s", 90_000],
    ["10m", 600_000],
    ["1h", 3_600_000],
    ["1h30m", 5_400_000],
    ["500ms", 500],
    ["1.5s", 1_500],
    ["1d", 86_400_000],
  ])("%s is %d ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["10", "", "m", "-5m", "0s", "10 minutes", "5x", "1h 30"])("%j is none", (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  it("is written with two units at most", () => {
    expect([7, 4_200, 185_000, 7_800_000].map(formatDuration)).toEqual([
      "7 ms",
      "4.2 s",
      "3 min 5 s",
      "2 h 10 min",
    ]);
  });
});

describe("--repo", () => {
  it.each([
    ["acme/shop", "acme/shop", "https://github.com/acme/shop.git"],
    ["acme/shop.git", "acme/shop", "https://github.com/acme/shop.git"],
    ["https://github.com/acme/shop", "acme/shop", "https://github.com/acme/shop"],
    ["https://gitlab.com/group/sub/shop.git", "sub/shop", "https://gitlab.com/group/sub/shop.git"],
    ["ssh://git@host:22/acme/shop.git", "acme/shop", "ssh://git@host:22/acme/shop.git"],
    ["git@github.com:acme/shop.git", "acme/shop", "git@github.com:acme/shop.git"],
    ["file:///tmp/x/origin.git", "x/origin", "file:///tmp/x/origin.git"],
    ["file:///repo.git", "local/repo", "file:///repo.git"],
    ["https://git.example.com/shop.git", "git.example.com/shop", "https://git.example.com/shop.git"],
    ["/srv/git/acme shop/.git", "git/acme-shop", "file:///srv/git/acme%20shop/.git"],
    ["./shop", "work/shop", "file:///home/work/shop"],
    ["..", "local/home", "file:///home"],
  ])("%s is %s at %s", (text, repository, cloneUrl) => {
    expect(parseRepository(text, "/home/work")).toEqual({ repository, cloneUrl });
  });

  it.each(["", "shop", "https://", "file:///", "a b"])("%j is none", (text) => {
    expect(parseRepository(text, "/home/work")).toBeNull();
  });

  it("never gives a name that a request may not carry", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.webUrl(),
          fc.webPath().map((path) => `file://${path}`),
        ),
        (text) => {
          const named = parseRepository(text, "/home/work");
          if (named !== null) expect(RepositoryName.safeParse(named.repository).success).toBe(true);
        },
      ),
    );
  });
});

describe("the flags of deploy", () => {
  it("become a request with nothing that was not said", () => {
    expect(requestFromFlags(flags(), ["npm", "test"])).toEqual({
      type: "pr_deployment",
      repository: "acme/shop",
      cloneUrl: "https://github.com/acme/shop.git",
      branch: "fix",
      sha: SHA,
      run: { command: ["npm", "test"] },
    });
  });

  it("carry everything that can be said", () => {
    const request = requestFromFlags(
      flags({
        pr: "#7",
        priority: "high",
        label: ["os=linux", "gpu="],
        require: ["gpu exists", "zone in (a, b)"],
        memory: "2GB",
        memoryLimit: "4GiB",
        cpus: "1.5",
        cpuLimit: "2.5",
        processLimit: "300",
        timeout: "10m",
        maxAttempts: "2",
        check: ["npm test"],
        taskId: "one-7",
        env: ["A=b=c"],
        supersede: false,
      }),
      ["make all"],
    );
    expect(request).toMatchObject({
      taskId: "one-7",
      prNumber: 7,
      priority: "high",
      labels: { os: "linux", gpu: "" },
      constraints: [
        { label: "gpu", operator: "exists", values: [] },
        { label: "zone", operator: "in", values: ["a", "b"] },
      ],
      resources: { memoryBytes: 2_000_000_000, cpus: 1.5 },
      limits: { memoryBytes: 4_294_967_296, cpus: 2.5, processes: 300 },
      timeoutMs: 600_000,
      maxAttempts: 2,
      checks: ["npm test"],
      run: { command: "make all", env: { A: "b=c" } },
      supersede: false,
    });
  });

  it("become a prompt for an agent", () => {
    const agent = {
      model: "m",
      maxTurns: "9",
      maxBudget: "$2.5",
      allowTool: ["Bash(npm test)"],
      approvals: "ask",
    };
    const request = requestFromFlags(flags({ prompt: "Fix it", runner: "claude-code", ...agent }), []);
    expect(request).toMatchObject({
      prompt: "Fix it",
      runner: "claude-code",
      agent: {
        model: "m",
        maxTurns: 9,
        maxBudgetUsd: 2.5,
        allowedTools: ["Bash(npm test)"],
        approvals: "ask",
      },
    });
    expect(requestFromFlags(flags({ prompt: "Fix it" }), [])).not.toHaveProperty("agent");
  });

  it("name a type of task, which may need no prompt", () => {
    const { prBranch, repo, sha } = flags({});
    const bare = { prBranch, repo, sha };
    const words = { prTitle: "Add the sum", prBody: "It adds." };
    expect(requestFromFlags({ ...bare, type: "fix", ...words, maxTurns: "9" }, [])).toMatchObject({
      type: "fix",
      ...words,
      agent: { maxTurns: 9 },
    });
    expect(requestFromFlags({ ...bare, type: "validation" }, [])).toMatchObject({ type: "validation" });
    expect(() => requestFromFlags(bare, [])).toThrow(/nothing to do/);
  });

  it.each([
    [{ type: "repair" }, /type: .*"fix"/],
    [
      { type: "code_analysis" },
      /told as findings, which runner "command" does not do: "claude-code" and "codex"/,
    ],
    [{ prompt: "Fix it" }, /run and prompt exclude each other/],
    [{ runner: "claude-code" }, /runner "claude-code" needs a prompt/],
    [{ runner: "Clippy" }, /runner: expected a runner's name/],
    [{ runner: "codex" }, /runner "codex" needs a prompt/],
    [{ maxTurns: "9" }, /agent is for an agent: give a prompt/],
    [{ maxTurns: "0" }, /--max-turns/],
    [{ maxBudget: "all" }, /--max-budget/],
    [{ approvals: "maybe" }, /agent.approvals: /],
    [{ memory: "2" }, /--memory: expected a size/],
    [{ timeout: "10" }, /--timeout: expected a duration/],
    [{ pr: "x" }, /--pr: expected a whole number/],
    [{ cpus: "0" }, /--cpus/],
    [{ cpuLimit: "all" }, /--cpu-limit: expected a number above 0/],
    [{ cpuLimit: "0.01" }, /limits.cpus: /],
    [{ processLimit: "1.5" }, /--process-limit: expected a whole number/],
    [{ processLimit: "2" }, /limits.processes: /],
    [{ label: ["gpu"] }, /--label: expected key=value/],
    [{ require: ["zone in ()"] }, /--require: expected "gpu exists"/],
    [{ require: ["zone in (a"] }, /--require: expected "gpu exists"/],
    [{ require: ["a b c"] }, /--require: expected "gpu exists"/],
    [{ repo: "shop" }, /--repo/],
    [{ sha: "abc" }, /sha: .*commit/],
    [{ priority: "urgent" }, /priority: /],
    [{ repo: "ext::sh -c x" }, /./],
    [{ prBranch: "--upload-pack=x" }, /branch/],
  ])("are refused with the flag that is wrong: %j", (overrides, message) => {
    expect(refusal(() => requestFromFlags(flags(overrides), ["true"]))).toMatch(message);
  });

  it("are refused for an agent that knows no such thing", () => {
    const said = flags({ runner: "codex", prompt: "Fix it", maxTurns: "9" });
    expect(refusal(() => requestFromFlags(said, []))).toMatch(/agent.maxTurns: runner "codex" knows no/);
  });

  it("name all that is missing", () => {
    expect(refusal(() => requestFromFlags({}, ["true"]))).toContain("--repo, --pr-branch, --sha missing");
    expect(refusal(() => requestFromFlags(flags(), []))).toContain("nothing to do");
  });

  it("are refused in a file with the nearest known name", () => {
    expect(refusal(() => requestFromText("{", "x.json"))).toContain("x.json is no JSON text");
    expect(refusal(() => requestFromText("[]", "x.json"))).toContain("a JSON object");
    const text = JSON.stringify({ type: "pr_deployment", repositry: "a/b" });
    expect(refusal(() => requestFromText(text, "x.json"))).toContain('did you mean "repository"?');
  });
});
