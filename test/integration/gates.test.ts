// What a repository's base branch says of its gates and limits, as attempts obey it: which gates there are, what each
// of them says, and that nobody but the base branch has a say in it.
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type AttemptHost, startAttemptHost } from "../support/attempt.ts";
import { makeRepository, type Repository } from "../support/repository.ts";

const CONFIGURATION = `
[gates]
setup = "echo ready > ready.txt"
lint = "test -s ready.txt"
tests = 'test "$(sh sum.sh 2 3)" = 5'
[limits]
processes = 64
cpus = 1_000
`;
const FIX = "echo 'echo $(($1 + $2))' > sum.sh";
const files = { "sum.sh": "echo $(($1 - $2))\n", ".agent-mesh.toml": CONFIGURATION };

let host: AttemptHost;
let repository: Repository;
beforeAll(async () => {
  host = await startAttemptHost();
  repository = makeRepository({ files, prFiles: { ".agent-mesh.toml": "[gates]\ntests = 'true'\n" } });
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  repository[Symbol.dispose]();
});
afterEach(async () => {
  const left = await host.folders();
  if (left.length > 0) throw new Error(`attempts left their folders: ${left.join(" ")}`);
});

const command = (text: string) => ({ run: { command: text } });
const phases = async (taskId: string) => (await host.chunks(taskId)).map(({ text }) => text);
const verdicts = (checks: { gate: string; verdict: string }[] = []) =>
  checks.map(({ gate, verdict }) => `${gate} ${verdict}`);

describe("the gates of a repository", () => {
  it("are the base branch's, build on each other, and come before a request's checks", async () => {
    const { taskId, failure, result } = await host.run(repository, { ...command(FIX), checks: ["true"] });
    expect(failure).toBeNull();
    expect(verdicts(result?.checks)).toEqual([
      "setup confirmed",
      "lint confirmed",
      "tests confirmed",
      "check confirmed",
    ]);
    expect(result?.artifacts.map(({ name }) => name)).toEqual([
      ...["log", "patch", "bundle", "gate-setup", "gate-lint", "gate-tests", "check-1", "result"],
    ]);
    expect(await phases(taskId)).toEqual(
      expect.arrayContaining([
        ".agent-mesh.toml of the base branch: gates setup, lint, tests",
        "limits.cpus there is above what is allowed here, which holds",
        "gate lint: test -s ready.txt",
      ]),
    );
  });

  it("fail work that says all is well, whatever it does to their file", async () => {
    const { failure, result } = await host.run(repository, command("echo '' > .agent-mesh.toml; echo fine"));
    expect(failure).toEqual({
      category: "gate",
      message: expect.stringMatching(/^gate tests `test .*` exited 1$/),
    });
    expect(verdicts(result?.checks)).toEqual(["setup confirmed", "lint confirmed", "tests refuted"]);
  });

  it("are not run where their setup fails, and the others are named", async () => {
    using broken = makeRepository({
      files: { ".agent-mesh.toml": '[gates]\nsetup = "no-such-program"\ntests = "true"\nbuild = "true"\n' },
    });
    const { failure, result } = await host.run(broken, { type: "validation", checks: ["true"] });
    expect(failure).toEqual({
      category: "gate",
      message:
        "gate setup `no-such-program` could not be run (exit 127); not run without it: gate tests, gate build, check 1",
    });
    expect(verdicts(result?.checks)).toEqual(["setup inconclusive"]);
  });

  it("have no more memory than the repository lets them", async ({ skip }) => {
    if (host.hello.limits.memory !== "control-group") skip("this machine gives no memory control groups");
    const hog = "head -c 400000000 /dev/zero | tail -c 390000000 | wc -c";
    using greedy = makeRepository({
      files: { ".agent-mesh.toml": `[gates]\ntests = "${hog}"\n[limits]\nmemoryBytes = 67_108_864\n` },
    });
    const { failure } = await host.run(greedy, { type: "validation" });
    expect(failure).toMatchObject({ category: "resource" });
  });

  it("say nothing when their time is up", async () => {
    using slow = makeRepository({
      files: { ".agent-mesh.toml": '[gates]\ntests = "sleep 60"\n[limits]\ntimeoutMs = 4_000\n' },
    });
    const { failure, result } = await host.run(slow, { type: "validation" });
    expect(failure).toEqual({ category: "timeout", message: "gate tests took longer than the task may" });
    expect(verdicts(result?.checks)).toEqual(["tests inconclusive"]);
  });
});

describe("a configuration", () => {
  it("is the one of the branch that the pull request is for", async () => {
    using other = makeRepository({ files });
    other.commit({ ".agent-mesh.toml": "[gates]\nbuild = 'true'\n" }, { branch: "release", from: "main" });
    const { result } = await host.run(other, { type: "validation", baseBranch: "release" });
    expect(verdicts(result?.checks)).toEqual(["build confirmed"]);
  });

  it.each([
    ["[gate]\n", '.agent-mesh.toml of main: unknown field "gate"; did you mean "gates"?'],
    [`# ${"x".repeat(70_000)}\n`, "the base branch: .agent-mesh.toml has 70003 bytes; 65536 are allowed"],
  ])("that cannot be read fails the attempt for good, before anything runs", async (text, message) => {
    using wrong = makeRepository({ files: { ".agent-mesh.toml": text } });
    const { failure, result } = await host.run(wrong, { ...command("true"), baseBranch: "main" });
    expect(failure).toEqual({ category: "setup", permanent: true, message });
    expect(result?.artifacts.map(({ name }) => name)).toEqual(["result"]);
  });

  it("that is missing leaves the checks of the request, and the log says so", async () => {
    using plain = makeRepository();
    const { taskId, failure } = await host.run(plain, { ...command("true"), baseBranch: "nowhere" });
    expect(failure).toBeNull();
    expect(await phases(taskId)).toContain(
      "no .agent-mesh.toml on the base branch: no gate will judge the work",
    );
    expect((await host.run(plain, { type: "validation" })).failure).toMatchObject({
      category: "setup",
      permanent: true,
      message: expect.stringContaining("nothing judges it"),
    });
  });
});

it("an analysis by who tells no findings is refused before anything runs, though the log has it", async () => {
  const { failure, result } = await host.run(repository, {
    type: "code_analysis",
    ...command("touch ran"),
    runner: "command",
  });
  expect(failure).toMatchObject({
    category: "setup",
    permanent: true,
    message: expect.stringContaining('which runner "command" does not do'),
  });
  expect(result?.exitCode).toBeNull();
});

describe("a validation", () => {
  it("that changes the tree is refused for that", async () => {
    const { failure } = await host.run(repository, { type: "validation", ...command(FIX) });
    expect(failure).toMatchObject({
      category: "agent",
      message: expect.stringContaining("changed the tree"),
    });
  });
});
