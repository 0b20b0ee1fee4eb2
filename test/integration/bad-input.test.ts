// What nobody can be given, asked for over HTTP and over NATS: one table, the same code and the same words over both,
// and nothing of it stays on the log or stops the queue. What HTTP alone knows is in gateway-refusals.test.ts.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { start as startHostAgent } from "../../services/host-agent/main.ts";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { lastMessage, storedMessages } from "../../shared/bus/read.ts";
import { TASKS } from "../../shared/bus/streams.ts";
import { httpClient } from "../../shared/client/http-client.ts";
import { natsClient } from "../../shared/client/nats-client.ts";
import { type ApiVerb, apiSubject } from "../../shared/contracts/api.ts";
import { deadSubject } from "../../shared/contracts/dead.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { factSubject } from "../../shared/contracts/fact.ts";
import { type ErrorCode, WireError } from "../../shared/contracts/failure.ts";
import { contextFor } from "../support/bus.ts";
import {
  collect,
  deployRequest,
  type GatewayMesh,
  postJson,
  problemOf,
  startGatewayMesh,
} from "../support/gateway.ts";
import { startNats } from "../support/nats.ts";

let mesh: GatewayMesh;
beforeAll(async () => {
  mesh = await startGatewayMesh();
});
afterAll(() => mesh[Symbol.asyncDispose]());

type Verb = Exclude<
  ApiVerb,
  | "hosts"
  | "costs"
  | "config"
  | "configure"
  | "cordon"
  | "uncordon"
  | "drain"
  | "pause"
  | "resume"
  | "stop"
  | "checkpoint"
  | "checkpointChunk"
>;
/** Text is sent as it is, everything else as JSON. */
type Ask = (verb: Verb, body: unknown) => Promise<WireError>;

const ROUTES: Record<
  Exclude<Verb, "submit" | "list" | "dead" | "retryAll">,
  (id: string) => [method: string, path: string]
> = {
  get: (id) => ["GET", `/v1/tasks/${id}`],
  explain: (id) => ["GET", `/v1/tasks/${id}/explain`],
  cancel: (id) => ["POST", `/v1/tasks/${id}/cancel`],
  retry: (id) => ["POST", `/v1/tasks/${id}/retry`],
  say: (id) => ["POST", `/v1/tasks/${id}/say`],
};

async function askHttp(verb: Verb, body: unknown): Promise<WireError> {
  const { code, detail } = await problemOf(await requestOverHttp(verb, body));
  return WireError.parse({ code, message: detail });
}

async function requestOverHttp(verb: Verb, body: unknown): Promise<Response> {
  const fields = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  if (verb === "submit") return postJson(`${mesh.url}/v1/tasks`, body);
  if (verb === "retryAll") return postJson(`${mesh.url}/v1/retries`, body);
  if (verb === "list" || verb === "dead") {
    const query = new URLSearchParams(fields as Record<string, string>).toString();
    return fetch(`${mesh.url}/v1/${verb === "list" ? "tasks" : "dead"}?${query}`);
  }
  if (typeof fields.taskId !== "string") return postJson(`${mesh.url}/v1/cancellations`, body);
  const [method, path] = ROUTES[verb](encodeURIComponent(fields.taskId));
  const { taskId: _, ...rest } = fields;
  return verb === "say" ? postJson(mesh.url + path, rest) : fetch(mesh.url + path, { method });
}

async function askNats(verb: Verb, body: unknown): Promise<WireError> {
  const payload = typeof body === "string" ? body : JSON.stringify(body);
  const reply = await mesh.bus.connection.request(apiSubject.build({ verb }), payload, { timeout: 10_000 });
  return WireError.parse(reply.json());
}

const TRANSPORTS: [string, Ask][] = [
  ["HTTP", askHttp],
  ["NATS", askNats],
];

interface Row {
  what: string;
  verb: Verb;
  body: unknown;
  code: ErrorCode;
  words: string;
}

const bad = (verb: Verb, what: string, body: unknown, words: string): Row => ({
  what,
  verb,
  body,
  code: "bad_request",
  words,
});
const badDeploy = (what: string, overrides: object, words: string): Row =>
  bad("submit", what, deployRequest(overrides), words);

/** What `git` would take for an option, a program, another's folder, or a secret that is told to everybody. */
const CLONE_URLS: [url: string, words: string][] = [
  ["ext::sh -c touch% /tmp/x", "without blanks"],
  ["ext::sh", "transport helpers are not allowed"],
  ["fd::17", "transport helpers are not allowed"],
  ["--upload-pack=touch", "not an option of git"],
  ["ssh://-oProxyCommand=touch/x", "not an option of git"],
  ["git@-oProxyCommand=touch:x", "not an option of git"],
  ["host:-x", "not an option of git"],
  ["/etc", "a folder of the host is cloned as file:///path"],
  ["../x", "a folder of the host is cloned as file:///path"],
  ["C:\\x", "a folder of the host is cloned as file:///path"],
  ["file://relative", "file:// with an absolute path"],
  ["https://ada:secret@host/x", "without a password"],
  ["javascript://x", "is not cloned from"],
  ["https://", "a clone URL with a host"],
  ["shop", "such as https://host/owner/name.git"],
  ["", "cloneUrl"],
  [`https://host/${"x".repeat(2_048)}`, "cloneUrl"],
];

const BRANCHES = [
  "--upload-pack=x",
  "-b",
  "a..b",
  "a b",
  "a:b",
  "x~1",
  "@{u}",
  "a\u0000b",
  ".x",
  "x.lock",
  "a//b",
];
const TASK_IDS = ["../etc/passwd", "a/b", "a.b", "*", ">", "-x", "UPPER", "ä", "a b", "x".repeat(64)];

const ROWS: Row[] = [
  badDeploy("an unknown field", { priorty: "high" }, 'unknown field "priorty"; did you mean "priority"?'),
  badDeploy(
    "one in the run",
    { run: { comand: "x" } },
    'run: unknown field "comand"; did you mean "command"?',
  ),
  badDeploy(
    "one in the resources",
    { resources: { memoryByte: 1 } },
    'resources: unknown field "memoryByte"; did you mean "memoryBytes"?',
  ),
  badDeploy(
    "one like no other",
    { zzzzzzz: 1 },
    'unknown field "zzzzzzz"; known are: type, taskId, repository',
  ),
  bad(
    "submit",
    "one where all else is missing",
    { brnch: "x" },
    'unknown field "brnch"; did you mean "branch"?; type',
  ),
  bad(
    "submit",
    "one that is every object's",
    JSON.stringify(deployRequest()).replace("{", '{"__proto__":{},'),
    "__proto__",
  ),
  ...["type", "repository", "branch", "sha", "cloneUrl"].map((field) =>
    badDeploy(`no ${field}`, { [field]: undefined }, `${field}: `),
  ),
  badDeploy("another type", { type: "deploy" }, 'type: Invalid option: expected one of "pr_deployment"'),
  badDeploy(
    "a priority that does not exist",
    { priority: "urgent" },
    'expected one of "high"|"normal"|"low"',
  ),
  badDeploy("a text for a number", { prNumber: "7" }, "prNumber: Invalid input: expected number"),
  badDeploy("a duration in words", { timeoutMs: "10m" }, "timeoutMs: Invalid input: expected number"),
  badDeploy("a fraction of a second", { timeoutMs: 0.5 }, "timeoutMs: "),
  badDeploy("no time at all", { timeoutMs: 0 }, "timeoutMs: "),
  badDeploy("a year", { timeoutMs: 31_536_000_000 }, "timeoutMs: "),
  badDeploy("no attempts", { maxAttempts: 0 }, "maxAttempts: "),
  badDeploy("a list for labels", { labels: ["os"] }, "labels: "),
  badDeploy(
    "a constraint with an unknown operator",
    { constraints: [{ label: "a", operator: ">" }] },
    "operator",
  ),
  badDeploy(
    "a constraint that lacks its value",
    { constraints: [{ label: "os", operator: "=" }] },
    'expected one value for "="',
  ),
  badDeploy("a label that is a number", { labels: { cores: 4 } }, "labels.cores: "),
  badDeploy("a text for checks", { checks: "npm test" }, "checks: Invalid input: expected array"),
  badDeploy("an empty command", { run: { command: [] } }, "run.command: "),
  badDeploy(
    "a variable with a bad name",
    { run: { command: "x", env: { "A=B": "" } } },
    "environment variable",
  ),
  badDeploy("null", { prNumber: null }, "prNumber: "),
  ...["main", "abc1234", "A".repeat(40), `${"a".repeat(40)}\n`, "$(reboot)"].map((sha) =>
    badDeploy(`the commit ${JSON.stringify(sha)}`, { sha }, "sha: expected a full commit SHA"),
  ),
  ...["shop", "acme/..", "acme/shop; reboot", "/acme/shop"].map((repository) =>
    badDeploy(`the repository ${repository}`, { repository }, "repository: expected"),
  ),
  ...CLONE_URLS.map(([cloneUrl, words]) =>
    badDeploy(`the clone URL ${JSON.stringify(cloneUrl.slice(0, 40))}`, { cloneUrl }, words),
  ),
  ...BRANCHES.map((branch) =>
    badDeploy(`the branch ${JSON.stringify(branch)}`, { branch }, "branch: expected a branch name"),
  ),
  ...TASK_IDS.map((taskId) =>
    badDeploy(`the task id ${JSON.stringify(taskId)}`, { taskId }, "taskId: expected a task id"),
  ),
  ...(["get", "explain", "cancel", "retry"] as const).flatMap((verb) => [
    ...TASK_IDS.map((taskId) =>
      bad(verb, `the task id ${JSON.stringify(taskId)}`, { taskId }, "expected a task id"),
    ),
    {
      what: "a task that nobody knows",
      verb,
      body: { taskId: "nobody" },
      code: "not_found" as const,
      words: "no task nobody",
    },
  ]),
  bad("say", "no task id", { taskId: "A", text: "Hi" }, "expected a task id"),
  bad("say", "nothing", { taskId: "t" }, "expected one of text, interrupt and approval"),
  bad("say", "a field nobody knows", { taskId: "t", txt: "Hi" }, 'did you mean "text"?'),
  bad("say", "half an approval", { taskId: "t", approval: { id: "a" } }, "approval.allow: "),
  {
    what: "words for a task that nobody knows",
    verb: "say" as const,
    body: { taskId: "nobody", text: "Hi" },
    code: "not_found" as const,
    words: "no task nobody",
  },
  badDeploy(
    "both a command and a prompt",
    { prompt: "Fix it", run: { command: "true" } },
    "run and prompt exclude",
  ),
  badDeploy(
    "an agent with a key for strangers' work",
    { prompt: "Fix it", run: undefined, runner: "codex", fork: true },
    'runner "codex" has its provider',
  ),
  badDeploy("a runner without a prompt", { runner: "claude-code", run: undefined }, "needs a prompt"),
  badDeploy("an agent's field nobody knows", { agent: { maxTurn: 1 } }, 'did you mean "maxTurns"?'),
  bad("submit", "a list", [], "expected object"),
  bad("submit", "a text", '"deploy"', "expected object"),
  bad("submit", "half an object", '{"type":', "no JSON text"),
  bad("submit", "a hundred thousand brackets", "[".repeat(100_000), "no JSON text"),
  bad("cancel", "nothing to cancel", {}, 'expected {"taskId"}, {"repository", "prNumber"} or {"repository"}'),
  bad("cancel", "a number alone", { prNumber: 7 }, 'expected {"taskId"}'),
  bad("cancel", "half an object", "{", "no JSON text"),
  bad(
    "list",
    "a state that does not exist",
    { state: "happy" },
    'state: Invalid option: expected one of "unknown"|',
  ),
  bad("list", "an unknown field", { stat: "queued" }, 'unknown field "stat"; did you mean "state"?'),
  bad("list", "a limit in words", { limit: "many" }, "limit: Invalid input: expected number"),
  bad("list", "no limit", { limit: 100_000 }, "limit: "),
  ...(["dead", "retryAll"] as const).flatMap((verb) => [
    bad(verb, "a category that does not exist", { category: "bad luck" }, "category: Invalid option"),
    bad(verb, "a repository without an owner", { repository: "shop" }, "repository: expected"),
    bad(verb, "an unknown field", { categori: "host" }, 'unknown field "categori"; did you mean "category"?'),
    bad(verb, "a limit in words", { limit: "many" }, "limit: Invalid input: expected number"),
    bad(verb, "no limit", { limit: 100_000 }, "limit: "),
  ]),
  bad("dead", "a page before the first", { cursor: 0 }, "cursor: "),
  bad("retryAll", "a place before the log", { after: -1 }, "after: "),
  bad("retryAll", "a list", [], "expected object"),
  bad("retryAll", "half an object", "{", "no JSON text"),
  {
    what: "more than the log takes",
    verb: "submit",
    body: deployRequest({
      run: {
        command: "true",
        env: Object.fromEntries(Array.from({ length: 25 }, (_, n) => [`V${n}`, "x".repeat(30_000)])),
      },
    }),
    code: "too_large",
    words: "the request: ",
  },
];

describe.each(TRANSPORTS)("over %s", (_, ask) => {
  it.each(ROWS)("$verb of $what is $code", async ({ verb, body, code, words }) => {
    const refused = await ask(verb, body);
    expect(refused.code).toBe(code);
    expect(refused.message).toContain(words);
  });

  it("a second body under a known id is a conflict, and the first one counts", async () => {
    const taskId = `known-${ask.name.toLowerCase()}`;
    expect((await postJson(`${mesh.url}/v1/tasks`, deployRequest({ taskId }))).status).toBe(202);
    expect(await ask("submit", deployRequest({ taskId, branch: "other" }))).toMatchObject({
      code: "conflict",
      message: expect.stringContaining(`task ${taskId} is known with another request`),
    });
    expect(await (await fetch(`${mesh.url}/v1/tasks/${taskId}`)).json()).toMatchObject({ branch: "feature" });
  });
});

describe("5 MB", () => {
  const megabytes = (count: number) =>
    deployRequest({
      checks: Array.from({ length: 100 }, () => Array.from({ length: count }, () => "x".repeat(10_000))),
    }) as unknown as DeployRequest;

  it.each([
    ["NATS", () => natsClient(mesh.bus)],
    ["HTTP", () => httpClient(mesh.url)],
  ])("is too large for a client over %s, which can go on", async (_, connect) => {
    await using client = connect();
    expect(await client.submit(megabytes(5))).toMatchObject({ ok: false, error: { code: "too_large" } });
    expect(await client.get("nobody")).toMatchObject({ ok: false, error: { code: "not_found" } });
  });
});

describe("a file:// clone URL", () => {
  it("is refused by a host that does not allow it, for good, and the queue goes on", async () => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await startNats());
    const dataDir = stack.adopt(await mkdtemp(path.join(tmpdir(), "mesh-no-file-")), (folder) =>
      rm(folder, { recursive: true, force: true, maxRetries: 5 }),
    );
    const { url } = stack.use(await startGatewayMesh({ natsUrl: nats.url }));
    const env = { MESH_LEASE_MS: "12000", MESH_HOST_ID: "strict", MESH_DATA_DIR: dataDir };
    stack.use(await startScheduler(contextFor(nats.url, env)));
    stack.use(await startHostAgent(contextFor(nats.url, env)));
    await using client = httpClient(url);
    for (const taskId of ["disk-1", "disk-2"]) {
      const cloneUrl = pathToFileURL("/etc").href;
      await postJson(`${url}/v1/tasks`, deployRequest({ taskId, cloneUrl }));
      expect(await client.waitForEnd(taskId)).toMatchObject({
        value: {
          state: "failed",
          attempt: 1,
          hostId: "strict",
          failure: { category: "source", message: expect.stringContaining("MESH_ALLOW_FILE_CLONES=1") },
        },
      });
    }
  });
});

describe("all of that", () => {
  it("left nothing on the log but what was taken, and stops nobody", async () => {
    const next = await postJson(`${mesh.url}/v1/tasks`, deployRequest({ taskId: "next" }));
    expect(next.status).toBe(202);
    expect(await (await fetch(`${mesh.url}/v1/tasks/next`)).json()).toMatchObject({ state: "queued" });
    const taken = await collect(storedMessages(mesh.bus, TASKS, factSubject.wildcard()));
    expect(taken.map(({ subject }) => subject).toSorted()).toStrictEqual([
      "mesh.task.known-askhttp.requested.normal",
      "mesh.task.known-asknats.requested.normal",
      "mesh.task.next.requested.normal",
    ]);
    expect(await lastMessage(mesh.bus, "DEAD", deadSubject.wildcard())).toBeNull();
  });
});
