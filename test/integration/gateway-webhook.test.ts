// GitHub's webhooks over real HTTP, really signed, on to the real log and status tracker.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sign } from "@octokit/webhooks-methods";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { factsOfTask } from "../../shared/bus/read.ts";
import { type GatewayMesh, problemOf, startGatewayMesh } from "../support/gateway.ts";
import { payloadOf, payloads } from "../support/github-payloads.ts";

const SECRET = "it is a secret";

let mesh: GatewayMesh;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "agent-mesh-webhook-"));
  const config = join(folder, "mesh.toml");
  await writeFile(
    config,
    '[repositories."Codertocat/Hello-World"]\nrun.command = "make"\npriority = "high"\n',
  );
  mesh = await startGatewayMesh({ env: { MESH_GITHUB_WEBHOOK_SECRET: SECRET, MESH_CONFIG: config } });
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const Decision = z.object({ decision: z.string(), taskId: z.string(), created: z.boolean() });

/** The task that the event became. */
const taskIdFrom = async (response: Response): Promise<string> =>
  Decision.parse(await response.json()).taskId;

async function deliver(payload: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const body = typeof payload === "string" ? payload : JSON.stringify(payload);
  return fetch(`${mesh.url}/webhooks/github`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "x-github-event": "pull_request",
      "x-hub-signature-256": await sign(SECRET, body),
      ...headers,
    },
    body,
  });
}

const taskOf = async (taskId: string) => (await fetch(`${mesh.url}/v1/tasks/${taskId}`)).json();

describe("a signed pull_request event", () => {
  it("of every kind that GitHub sends is answered", async () => {
    for (const payload of payloads) expect((await deliver(payload)).status).toBe(202);
  });

  it("becomes a task that runs what the configuration says, once", async () => {
    const opened = payloadOf("opened", {
      pull: { updated_at: "2030-01-01T00:00:00Z" },
      head: { ref: "возможность/🚀" },
    });
    const first = await deliver(opened);
    const place = first.headers.get("location");
    const taskId = await taskIdFrom(first);
    expect(place).toBe(`/v1/tasks/${taskId}`);
    expect(await (await deliver(opened)).json()).toMatchObject({
      decision: "deploy",
      taskId,
      created: false,
    });
    const [requested] = await factsOfTask(mesh.bus, taskId);
    expect(requested?.body).toMatchObject({
      repository: "Codertocat/Hello-World",
      branch: "возможность/🚀",
      prNumber: 2,
      priority: "high",
      run: { command: "make" },
      pullRequestUpdatedAt: "2030-01-01T00:00:00.000Z",
    });
    expect(await taskOf(taskId)).toMatchObject({ taskId, state: "queued" });
  });

  it("closed cancels the task, and reopened at the same commit is a new one", async () => {
    const head = { sha: "b".repeat(40) };
    const open = async (action: string, updated_at: string) =>
      taskIdFrom(await deliver(payloadOf(action, { pull: { updated_at }, head })));
    const first = await open("opened", "2031-01-01T00:00:00Z");
    const closed = await deliver(payloadOf("closed", { pull: { updated_at: "2031-01-02T00:00:00Z" } }));
    expect(await closed.json()).toMatchObject({
      decision: "cancel",
      cancelled: expect.arrayContaining([first]),
    });
    await expect.poll(() => taskOf(first)).toMatchObject({ state: "cancelled" });
    const second = await open("reopened", "2031-01-03T00:00:00Z");
    expect(second).not.toBe(first);
    expect(await taskOf(second)).toMatchObject({ state: "queued" });
  });

  it("closed that comes late cancels nothing newer", async () => {
    const newer = { pull: { updated_at: "2033-01-01T00:00:00Z" }, head: { sha: "c".repeat(40) } };
    const taskId = await taskIdFrom(await deliver(payloadOf("opened", newer)));
    const late = await deliver(payloadOf("closed", { pull: { updated_at: "2032-01-01T00:00:00Z" } }));
    expect(await late.json()).toMatchObject({ cancelled: expect.not.arrayContaining([taskId]) });
    expect(await taskOf(taskId)).toMatchObject({ state: "queued" });
  });

  it("of a fork is rejected on the log, with the reason", async () => {
    const payload = payloadOf("opened", {
      pull: { updated_at: "2034-01-01T00:00:00Z" },
      head: { sha: "d".repeat(40) },
      headRepo: { id: 1, full_name: "stranger/Hello-World", fork: true },
    });
    const taskId = await taskIdFrom(await deliver(payload));
    // Once every host has had the time to say that it takes the work of strangers.
    await expect
      .poll(() => taskOf(taskId), { timeout: 20_000 })
      .toMatchObject({
        state: "failed",
        failure: { category: "rejected", message: expect.stringMatching(/fork/i) },
      });
  });

  it("comes through a tunnel, under its name", async () => {
    const response = await deliver(payloadOf("labeled"), {
      host: "tunnel.example",
      "x-github-delivery": "1",
    });
    expect(await response.json()).toMatchObject({ decision: "ignored" });
  });
});

describe("what is no event for the mesh", () => {
  it.each([
    ["no signature", { "x-hub-signature-256": "" }],
    ["a wrong signature", { "x-hub-signature-256": `sha256=${"0".repeat(64)}` }],
    ["an old kind of signature", { "x-hub-signature-256": `sha1=${"0".repeat(40)}` }],
  ])("with %s is refused", async (_, headers) => {
    const response = await deliver(payloadOf("opened"), headers);
    expect(response.status).toBe(401);
    expect((await problemOf(response)).code).toBe("unauthorized");
  });

  it("is refused when the body is not the one that was signed", async () => {
    const signature = await sign(SECRET, JSON.stringify(payloadOf("opened")));
    const other = payloadOf("opened", { head: { sha: "e".repeat(40) } });
    expect((await deliver(other, { "x-hub-signature-256": signature })).status).toBe(401);
  });

  it("is answered: a ping, an event of another kind, a form, no JSON, a payload of something else, a huge one", async () => {
    const ping = await deliver({ zen: "x" }, { "x-github-event": "ping" });
    expect([ping.status, await ping.json()]).toStrictEqual([200, { decision: "pong" }]);
    expect((await deliver({}, { "x-github-event": "push" })).status).toBe(202);
    expect((await deliver("payload=x", { "content-type": "application/x-www-form-urlencoded" })).status).toBe(
      415,
    );
    expect((await deliver("{")).status).toBe(400);
    expect((await deliver({ action: "opened" })).status).toBe(400);
    expect((await deliver("x".repeat(3_000_000))).status).toBe(413);
  });

  it("is refused by a gateway that knows no secret", async () => {
    await using other = await startGatewayMesh({ tracker: false });
    const response = await fetch(`${other.url}/webhooks/github`, { method: "POST", body: "{}" });
    expect(response.status).toBe(403);
    expect((await problemOf(response)).detail).toContain("MESH_GITHUB_WEBHOOK_SECRET");
  });
});
