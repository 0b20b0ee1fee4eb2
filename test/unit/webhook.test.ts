// The rules of the GitHub webhook, on every `pull_request` payload that octokit's examples hold, and on
// variants that GitHub sends too.
import { describe, expect, it } from "vitest";
import { decide } from "../../services/gateway/webhook.ts";
import { EMPTY_CONFIG, parseMeshConfig } from "../../shared/config/mesh-config.ts";
import { TaskId } from "../../shared/contracts/ids.ts";
import { payloadOf, payloads } from "../support/github-payloads.ts";

function deployed(payload: unknown, config = EMPTY_CONFIG) {
  const decision = decide(payload, config);
  if (decision.kind !== "deploy") throw new Error(`expected a deployment, not ${JSON.stringify(decision)}`);
  return decision.request;
}

const DEPLOYING = ["opened", "synchronize", "reopened", "ready_for_review"];
const withActions = (wanted: (action: string) => boolean) =>
  payloads
    .map((payload, index) => ({ payload, index, action: payload.action }))
    .filter(({ action }) => wanted(action));

describe("the pull_request payloads of GitHub's examples", () => {
  it("are all 29 there", () => {
    expect(payloads).toHaveLength(29);
  });

  it.each(withActions((action) => DEPLOYING.includes(action)))("$index: $action deploys", ({ payload }) => {
    const { taskId, ...request } = deployed(payload);
    const { head, updated_at } = payload.pull_request;
    expect(request).toStrictEqual({
      type: "pr_deployment",
      repository: "Codertocat/Hello-World",
      branch: "changes",
      sha: head.sha,
      cloneUrl: "https://github.com/Codertocat/Hello-World.git",
      prNumber: 2,
      baseBranch: "master",
      pullRequestUpdatedAt: new Date(updated_at).toISOString(),
    });
    expect(TaskId.safeParse(taskId).success).toBe(true);
    expect(taskId).toMatch(/^gh-2-ec26c3e57ca3-[0-9a-f]{16}$/);
  });

  it.each(withActions((action) => action === "closed"))("$index: $action cancels", ({ payload }) => {
    expect(decide(payload, EMPTY_CONFIG)).toStrictEqual({
      kind: "cancel",
      request: {
        repository: "Codertocat/Hello-World",
        prNumber: 2,
        updatedAt: "2019-05-15T15:21:18.000Z",
        reason: "pull request #2 was closed",
      },
    });
  });

  it.each(withActions((action) => !DEPLOYING.includes(action) && action !== "closed"))(
    "$index: $action is ignored, and says why",
    ({ payload, action }) => {
      expect(decide(payload, EMPTY_CONFIG)).toMatchObject({
        kind: "ignored",
        reason: expect.stringContaining(`"${action}"`),
      });
    },
  );
});

describe("a pull request's event", () => {
  it("is the same task each time it comes, and another one when it happens again", () => {
    const reopened = (at: string) => deployed(payloadOf("reopened", { pull: { updated_at: at } })).taskId;
    expect(reopened("2024-01-01T00:00:00Z")).toBe(reopened("2024-01-01T00:00:00Z"));
    expect(reopened("2024-01-01T00:00:00Z")).toBe(reopened("2024-01-01T01:00:00+01:00"));
    expect(reopened("2024-01-01T00:00:00Z")).not.toBe(reopened("2024-01-02T00:00:00Z"));
    expect(deployed(payloadOf("opened")).taskId).not.toBe(deployed(payloadOf("reopened")).taskId);
    expect(deployed(payloadOf("opened")).taskId).not.toBe(
      deployed(payloadOf("opened", { head: { sha: "a".repeat(40) } })).taskId,
    );
  });

  it("has a task id within the rule for the largest number GitHub has", () => {
    const payload = payloadOf("opened");
    payload.number = Number.MAX_SAFE_INTEGER;
    expect(TaskId.safeParse(deployed(payload).taskId).success).toBe(true);
  });

  it("tells merged from closed", () => {
    expect(decide(payloadOf("closed", { pull: { merged: true } }), EMPTY_CONFIG)).toMatchObject({
      kind: "cancel",
      request: { reason: "pull request #2 was merged" },
    });
  });

  it("of a draft waits, unless the configuration deploys drafts", () => {
    const draft = payloadOf("opened", { pull: { draft: true } });
    const decision = decide(draft, EMPTY_CONFIG);
    expect(decision).toMatchObject({ kind: "ignored", reason: expect.stringContaining("drafts = true") });
    expect(deployed(draft, parseMeshConfig("defaults.drafts = true", "mesh.toml")).sha).toBe(
      draft.pull_request.head.sha,
    );
    const off = parseMeshConfig(
      'defaults.drafts = true\n[repositories."Codertocat/Hello-World"]\ndrafts = false',
      "mesh.toml",
    );
    expect(decide(draft, off).kind).toBe("ignored");
  });

  it("of a draft that is closed cancels all the same", () => {
    expect(decide(payloadOf("closed", { pull: { draft: true } }), EMPTY_CONFIG).kind).toBe("cancel");
  });

  it("whose head repository is deleted is ignored, and cancels when closed", () => {
    expect(decide(payloadOf("opened", { headRepo: null }), EMPTY_CONFIG)).toMatchObject({
      kind: "ignored",
      reason: expect.stringContaining("deleted"),
    });
    expect(decide(payloadOf("closed", { headRepo: null }), EMPTY_CONFIG).kind).toBe("cancel");
  });

  it("from a fork is a request that says so, cloned from the base", () => {
    const fork = {
      id: 99,
      full_name: "stranger/Hello-World",
      clone_url: "https://github.com/stranger/Hello-World.git",
      fork: true,
    };
    expect(deployed(payloadOf("opened", { headRepo: fork }))).toMatchObject({
      fork: true,
      repository: "Codertocat/Hello-World",
      cloneUrl: "https://github.com/Codertocat/Hello-World.git",
    });
  });

  it("from a fork is given to no agent unasked", () => {
    const fork = payloadOf("opened", { headRepo: { id: 99, full_name: "stranger/Hello-World" } });
    const config = { ...EMPTY_CONFIG, defaults: { prompt: "Review it." } };
    expect(decide(fork, config)).toEqual({
      kind: "ignored",
      reason: "no agent works on a pull request from a fork unless somebody asks for it",
    });
    expect(decide(payloadOf("opened"), config)).toMatchObject({
      kind: "deploy",
      request: { prompt: "Review it." },
    });
  });

  it("has an agent told its title and description, cut, where the configuration has one work on it", () => {
    const config = parseMeshConfig(
      '[defaults]\nrun.command = "make"\n[repositories."codertocat/hello-world"]\ntype = "fix"\n',
      "mesh.toml",
    );
    const pull = { title: "t".repeat(2_000), body: "b".repeat(65_536) };
    const request = deployed(payloadOf("opened", { pull }), config);
    expect(request).toMatchObject({ type: "fix", prTitle: "t".repeat(1_024), prBody: "b".repeat(16_384) });
    expect(request).not.toHaveProperty("run");
    expect(deployed(payloadOf("opened", { pull: { body: null } }), config)).not.toHaveProperty("prBody");
    const fork = payloadOf("opened", { headRepo: { id: 99, full_name: "stranger/Hello-World" } });
    expect(decide(fork, config).kind).toBe("ignored");
  });

  it("is never asked to be pushed from a fork, whatever the configuration says", () => {
    const config = { ...EMPTY_CONFIG, defaults: { run: { command: "make" }, push: true } };
    const fork = payloadOf("opened", { headRepo: { id: 99, full_name: "stranger/Hello-World" } });
    expect(deployed(fork, config)).not.toHaveProperty("push");
    expect(deployed(payloadOf("opened"), config)).toMatchObject({ push: true });
  });

  it("within a repository that is itself a fork is no work of strangers", () => {
    expect(deployed(payloadOf("opened", { headRepo: { fork: true } }))).not.toHaveProperty("fork");
  });

  it("keeps a branch in any script", () => {
    expect(deployed(payloadOf("opened", { head: { ref: "возможность/日本語-ünï-🚀" } })).branch).toBe(
      "возможность/日本語-ünï-🚀",
    );
  });

  it("with a branch that git would take for an option is refused", () => {
    expect(
      decide(payloadOf("opened", { head: { ref: "--upload-pack=touch /tmp/x" } }), EMPTY_CONFIG),
    ).toMatchObject({
      kind: "unreadable",
      problem: expect.stringContaining("branch"),
    });
  });

  it("that is none is refused with what is missing", () => {
    for (const payload of [null, 1, "x", [], {}, { action: "opened" }])
      expect(decide(payload, EMPTY_CONFIG).kind).toBe("unreadable");
    const broken = payloadOf("opened");
    delete broken.pull_request.head.sha;
    expect(decide(broken, EMPTY_CONFIG)).toMatchObject({
      problem: expect.stringContaining("pull_request.head.sha"),
    });
  });

  it("runs what the configuration says for its repository, whatever the case of its name", () => {
    const config = parseMeshConfig(
      `
      [defaults]
      run.command = "npm test"
      maxAttempts = 2
      [repositories."codertocat/hello-world"]
      run = { command = ["make"], env = { A = "1" } }
      checks = ["make check"]
      `,
      "mesh.toml",
    );
    expect(deployed(payloadOf("opened"), config)).toMatchObject({
      run: { command: ["make"], env: { A: "1" } },
      checks: ["make check"],
      maxAttempts: 2,
    });
    expect(deployed(payloadOf("opened"), config)).not.toHaveProperty("drafts");
  });
});
