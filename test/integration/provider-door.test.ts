// The door at which an agent asks its provider: whose token opens it, what may be asked, what goes on in whose name, and
// what is counted. A real HTTP client at one end, a stub of the provider at the other.
import { once } from "node:events";
import {
  createServer as createHttp,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { anthropic } from "../../services/host-agent/runner/claude-code/provider.ts";
import { openProviderDoor, type ProviderDoor } from "../../services/host-agent/runner/provider-door.ts";
import type { RunOutcome } from "../../services/host-agent/runner/runner.ts";

const KEY = "the-host's-own-key";

type Asked = {
  method: string | undefined;
  url: string | undefined;
  headers: IncomingMessage["headers"];
  body: string;
};

let provider: Server;
let asked: Asked[];
let give: (response: ServerResponse) => void;
const closing: { close(): unknown }[] = [];

const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port;
const json = (body: unknown) => (response: ServerResponse) => {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
};
const usage = {
  input_tokens: 100,
  output_tokens: 20,
  cache_read_input_tokens: 3,
  cache_creation_input_tokens: 4,
};

beforeEach(async () => {
  asked = [];
  give = json({ type: "message", usage });
  provider = createHttp((incoming, response) => {
    let body = "";
    incoming.on("data", (bytes: Buffer) => {
      body += bytes.toString();
    });
    incoming.on("end", () => {
      asked.push({ method: incoming.method, url: incoming.url, headers: incoming.headers, body });
      give(response);
    });
  }).listen(0, "127.0.0.1");
  await once(provider, "listening");
  closing.push(provider);
});
afterEach(() => {
  provider.closeAllConnections();
  for (const server of closing.splice(0)) server.close();
});

/** A door with the host's key, and how to come to it; `path`: of the provider's address. */
async function open({ tokens, path = "" }: { tokens?: number; path?: string } = {}) {
  const environment = {
    ANTHROPIC_API_KEY: KEY,
    ANTHROPIC_BASE_URL: `http://127.0.0.1:${portOf(provider)}${path}`,
  };
  const known = anthropic(environment) ?? expect.fail("no provider");
  const door = openProviderDoor(known, tokens === undefined ? {} : { tokens });
  const front = createServer({ allowHalfOpen: true }, (socket) => door.answer(socket)).listen(0, "127.0.0.1");
  await once(front, "listening");
  closing.push(front);
  const token = door.environment.ANTHROPIC_API_KEY ?? expect.fail("no token");
  const tokenHeader: Record<string, string> = { "x-api-key": token };
  const ask = async (
    target = "/v1/messages?beta=true",
    { method = "POST", body = "{}", headers = tokenHeader } = {},
  ) => {
    const sent = request({ port: portOf(front), method, path: target, headers, agent: false });
    sent.end(body);
    const [answer] = (await once(sent, "response")) as [IncomingMessage];
    let text = "";
    for await (const chunk of answer as AsyncIterable<Buffer>) text += chunk.toString();
    return { status: answer.statusCode, headers: answer.headers, text };
  };
  return { door, ask, token, port: portOf(front) };
}

const exit = { exitCode: 1, signal: null, durationMs: 1, cause: "exited" as const };
const told = (inputTokens: number) => ({
  turns: 1,
  costUsd: 0.5,
  inputTokens,
  outputTokens: 5,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
});
const outcome = (used: ReturnType<typeof told> | null): RunOutcome => ({
  exit,
  failure: { category: "host", message: "the provider refused: 403" },
  agent: {
    runner: "claude-code",
    version: "1",
    model: "m",
    sessionId: "s",
    usage: used,
    denied: 0,
    summary: "",
  },
});
const usageOf = (door: ProviderDoor, used: ReturnType<typeof told> | null) =>
  door.judge(outcome(used)).agent?.usage;

describe("an agent's provider", () => {
  it("is asked in the host's name, at the host's address, and answers as it does", async () => {
    const { ask, token } = await open({ path: "/gateway/" });
    give = (response) =>
      void response.writeHead(529, { "retry-after": "7", "content-type": "application/json" }).end("{}");
    const answer = await ask("/v1/messages?beta=true", {
      body: '{"model":"m"}',
      headers: { authorization: `Bearer ${token}`, "anthropic-beta": "b", "accept-encoding": "gzip" },
    });
    expect(answer).toMatchObject({ status: 529, text: "{}", headers: { "retry-after": "7" } });
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      method: "POST",
      url: "/gateway/v1/messages?beta=true",
      body: '{"model":"m"}',
      headers: { "x-api-key": KEY, "anthropic-beta": "b", "accept-encoding": "identity" },
    });
    expect(JSON.stringify(asked)).not.toContain(token);
  });

  it("is asked by this attempt alone, and for answers of models alone", async () => {
    const [{ ask }, other] = [await open(), await open()];
    for (const headers of [
      {},
      { "x-api-key": "" },
      { "x-api-key": KEY },
      { authorization: `Bearer ${other.token}` },
    ])
      expect(await ask(undefined, { headers })).toMatchObject({
        status: 401,
        headers: { "x-should-retry": "false" },
        text: expect.stringContaining("authentication_error"),
      });
    for (const [method, target] of [
      ["GET", "/v1/messages"],
      ["POST", "/v1/files"],
      ["POST", "/v1/messages/../organizations"],
      ["DELETE", "/v1/models/m"],
      ["GET", "/"],
    ] as const)
      expect(await ask(target, { method, body: "" })).toMatchObject({ status: 404 });
    expect(asked).toEqual([]);
    expect(await ask("/v1/models", { method: "GET", body: "" })).toMatchObject({ status: 200 });
    expect(await ask("/v1/messages/count_tokens")).toMatchObject({ status: 200 });
  });

  it("is not asked for what is too long, nor waited for where it is not there", async () => {
    const { ask, token, door } = await open();
    const headers = { "x-api-key": token, "content-length": "70000000" };
    expect(await ask(undefined, { headers })).toMatchObject({ status: 413 });
    expect(asked).toEqual([]);
    provider.close();
    provider.closeAllConnections();
    expect(await ask()).toMatchObject({ status: 502, text: expect.stringContaining("cannot be reached") });
    // To the agent it looks like the provider's own trouble, which passes.
    const quota = { category: "quota" as const, message: "the provider refused: 502" };
    expect(door.judge({ exit, failure: quota }).failure).toEqual({
      category: "host",
      message: expect.stringMatching(/provider .* cannot be reached: .*ECONNREFUSED/),
    });
  });

  it("has its answer passed on as it comes, and its tokens counted, however it is cut", async () => {
    const { port, token, door } = await open();
    let more: ServerResponse | null = null;
    give = (response) => {
      more = response;
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(
        `event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":100,"cache_read_inp`,
      );
    };
    const sent = request({
      port,
      method: "POST",
      path: "/v1/messages",
      headers: { "x-api-key": token },
      agent: false,
    });
    sent.end("{}");
    const [answer] = (await once(sent, "response")) as [IncomingMessage];
    const [first] = (await once(answer, "data")) as [Buffer];
    expect(first.toString()).toContain("message_start");
    const rest = once(answer, "end");
    const end = (more as ServerResponse | null) ?? expect.fail("nothing was asked");
    end.write(
      `ut_tokens":3,"output_tokens":1}}}\n\ndata: {"type":"content_block_delta","delta":{"text":"\\"usage\\""}}\n\n`,
    );
    end.end(`data: {"type":"message_delta","usage":{"output_tokens":20}}\n\n`);
    await rest;
    expect(usageOf(door, null)).toEqual({
      turns: 1,
      costUsd: null,
      inputTokens: 100,
      outputTokens: 20,
      cacheReadTokens: 3,
      cacheWriteTokens: 0,
    });
  });

  it("is counted by the larger account, and only where it has answered", async () => {
    expect(usageOf((await open()).door, null)).toBeNull();
    const { ask, door } = await open();
    await ask();
    await ask("/v1/messages/count_tokens");
    give = (response) => void response.writeHead(400).end(JSON.stringify({ usage }));
    await ask();
    expect(usageOf(door, told(10))).toEqual({
      ...told(100),
      outputTokens: 20,
      cacheReadTokens: 3,
      cacheWriteTokens: 4,
    });
    expect(usageOf(door, told(1_000))).toMatchObject({ inputTokens: 1_000, costUsd: 0.5 });
  });

  it("is asked no more once the tokens are used up, and that is why the attempt ends", async () => {
    const [{ ask, door }, content] = [await open({ tokens: 200 }), await open({ tokens: 200 })];
    expect(await content.ask()).toMatchObject({ status: 200 });
    expect(content.door.judge(outcome(null)).failure?.category).toBe("host");
    expect(await ask()).toMatchObject({ status: 200 });
    expect(await ask()).toMatchObject({ status: 200 });
    expect(await ask()).toMatchObject({
      status: 403,
      headers: { "x-should-retry": "false" },
      text: expect.stringContaining("200 tokens were allowed, and 254 are used"),
    });
    expect(asked).toHaveLength(3);
    expect(door.judge(outcome(null)).failure).toEqual({
      category: "budget",
      message: "the agent was allowed 200 tokens, and has used 254",
    });
    expect(door.judge({ exit, failure: null }).failure).toBeNull();
  });
});
