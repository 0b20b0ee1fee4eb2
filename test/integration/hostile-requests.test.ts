// What an attempt's programs may say at the doors that lead to the host agent, whatever they say: it ends nothing but its
// own connection, and nothing goes on that was not judged. Bytes over real sockets, to real servers.
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Refusals } from "../../services/host-agent/network/refusals.ts";
import { wayOut } from "../../services/host-agent/network/way-out.ts";
import { anthropic } from "../../services/host-agent/runner/claude-code/provider.ts";
import { openProviderDoor } from "../../services/host-agent/runner/provider-door.ts";
import { parseAllowedHost } from "../../shared/contracts/network.ts";
import { until } from "../support/until.ts";

const KEY = "the-host's-own-key";
const FINE = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

/** What came, by connection; each request is answered by `answer`. */
let came: string[];
let answer: string;
let there: Server;
const servers: Server[] = [];
const sockets: Socket[] = [];

async function listen(hear: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    hear(socket);
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return server;
}
const portOf = (server: Server) => (server.address() as { port: number }).port;

beforeEach(async () => {
  came = [];
  answer = FINE;
  there = await listen((socket) => {
    const at = came.push("") - 1;
    socket.on("data", (bytes: Buffer) => {
      came[at] += bytes.toString();
      if (answer !== "") socket.write(answer);
    });
  });
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** Says bytes at a door, and waits for what `isEnough` of what comes back. */
async function sayAt(
  door: { answer(stream: Duplex): void },
  text: string,
  isEnough = (heard: string) => heard.includes("\r\n\r\n"),
  more: (heard: string) => string | null = () => null,
): Promise<string> {
  const front = await listen((socket) => door.answer(socket));
  const socket = connect(portOf(front), "127.0.0.1");
  sockets.push(socket);
  let heard = "";
  socket.on("data", (bytes: Buffer) => {
    heard += bytes.toString();
    socket.write(more(heard) ?? "");
  });
  socket.write(text);
  await until(() => isEnough(heard));
  return heard;
}

/** How many connections the host opens for whoever sends a request a hundred times at once, until that one is cut off. */
async function connectionsFor(door: { answer(stream: Duplex): void }, request: string): Promise<number> {
  const front = await listen((socket) => door.answer(socket));
  const socket = connect(portOf(front), "127.0.0.1");
  sockets.push(socket);
  socket.on("error", () => {});
  const closed = once(socket.resume(), "close");
  socket.write(request.repeat(100));
  await closed;
  return came.length;
}

describe("what is said to the way out", () => {
  const open = () => {
    const allowed = [parseAllowedHost(`127.0.0.1:${portOf(there)}`) ?? expect.fail()];
    const plan = { lists: [allowed], remedy: "by nobody" };
    return wayOut({ plan, owners: allowed, refusals: new Refusals(() => {}) });
  };
  const say = (target: string, headers = "", body = "") =>
    sayAt(open(), `GET ${target} HTTP/1.1\r\nhost: another.example\r\n${headers}\r\n${body}`);
  const url = () => `http://127.0.0.1:${portOf(there)}/a?b`;

  it("goes on to the host that was judged, under that one's name, and as one request", async () => {
    const body = "3\r\nabc\r\n0\r\n\r\n";
    expect(await say(url(), "transfer-encoding: chunked\r\ntrailer: x\r\n", body)).toMatch(/^HTTP\/1.1 200/);
    expect(came).toHaveLength(1);
    expect(came[0]).toBe(
      `GET /a?b HTTP/1.1\r\nhost: 127.0.0.1:${portOf(there)}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n${body}`,
    );
  });

  it.each([
    ["of one connection", "trailer: x\r\nkeep-alive: 5\r\nproxy-authorization: b\r\n"],
    ["that is waited for", "expect: 100-continue\r\ntrailer: x\r\n"],
  ])("goes on without what is %s", async (_which, headers) => {
    expect(await say(url(), headers)).toMatch(/^HTTP\/1.1 (100|200)/);
    await until(() => came.length === 1 && came[0]?.endsWith("\r\n\r\n") === true);
    expect(came[0]).not.toMatch(/trailer|keep-alive|proxy|expect/i);
  });

  it.each(["//", "/", "http://[", "https"])("is refused as %s", async (target) => {
    // Whoever means that one has to encrypt it himself.
    const asked = target === "https" ? url().replace("http:", "https:") : target;
    expect(await say(asked)).toMatch(/^HTTP\/1.1 403/);
    expect(came).toEqual([]);
  });

  it("is cut off that asks for more before it is answered, with what it had asked for", async () => {
    answer = "";
    const request = `GET ${url()} HTTP/1.1\r\nhost: a\r\n\r\n`;
    expect(await connectionsFor(open(), request)).toBeLessThanOrEqual(1);
  });

  it("may ask once more when it has been answered", async () => {
    const both = (heard: string) => heard.split("fine").length === 3;
    const request = `GET ${url()} HTTP/1.1\r\nhost: a\r\n\r\n`;
    const again = (heard: string) => (heard.endsWith("fine") && !both(heard) ? request : null);
    expect(await sayAt(open(), request, both, again)).toMatch(/^HTTP\/1.1 200 (.|\r\n)*HTTP\/1.1 200 /);
  });

  it.each([
    ["a number that is none", "HTTP/1.1 001 OK\r\ncontent-length: 0\r\n\r\n", 502],
    ["another protocol", "HTTP/1.1 101 Other\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n", 502],
    ["what is no HTTP", "hello\r\n\r\n", 502],
    ["what follows nothing", "HTTP/1.1 200 OK\r\ntrailer: x\r\ncontent-length: 0\r\n\r\n", 200],
  ])("may be answered by %s", async (_what, text, status) => {
    answer = text;
    expect(await say(url())).toMatch(new RegExp(`^HTTP/1.1 ${status}`));
  });
});

describe("what is said to the provider's door", () => {
  const open = () => {
    const address = `http://127.0.0.1:${portOf(there)}`;
    const provider = anthropic({ ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: address }) ?? expect.fail();
    const door = openProviderDoor(provider, {});
    return { door, token: door.environment.ANTHROPIC_API_KEY ?? expect.fail() };
  };

  it("is never the beginning of a request that comes after it, which has the key", async () => {
    const { door, token } = open();
    const hidden = "POST /v1/files HTTP/1.1\r\nx-hidden: ";
    const body = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
    const head = `GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: ${token}\r\n`;
    await sayAt(door, `${head}transfer-encoding: chunked\r\n\r\n${body}`, (heard) => heard.endsWith("fine"));
    await sayAt(door, `${head}\r\n`, (heard) => heard.endsWith("fine"));
    expect(came.join("").match(new RegExp(KEY, "g"))).toHaveLength(2);
    expect(came.join("")).toContain(`transfer-encoding: chunked`);
    expect(came.join("")).toContain(body);
  });

  it.each([
    ["//", 404],
    ["http://[", 404],
    ["http://elsewhere.example/v1/models", 200],
    ["/v1/models/%2e%2e/files", 404],
  ])("is judged by its path alone: %s", async (target, status) => {
    const { door, token } = open();
    const heard = await sayAt(door, `GET ${target} HTTP/1.1\r\nhost: a\r\nx-api-key: ${token}\r\n\r\n`);
    expect(heard).toMatch(new RegExp(`^HTTP/1.1 ${status}`));
    expect(came).toHaveLength(status === 200 ? 1 : 0);
  });

  it.each([
    "HTTP/1.1 001 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 101 Other\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n",
    "hello\r\n\r\n",
  ])("is answered by 502 where the provider's answer is none: %j", async (text) => {
    answer = text;
    const { door, token } = open();
    const heard = await sayAt(door, `GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: ${token}\r\n\r\n`);
    expect(heard).toMatch(/^HTTP\/1.1 502/);
    expect(heard).not.toContain(KEY);
  });

  it("is cut off that asks for more before it is answered, with what it had asked for", async () => {
    answer = "";
    const { door, token } = open();
    const request = `GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: ${token}\r\n\r\n`;
    expect(await connectionsFor(door, request)).toBeLessThanOrEqual(1);
  });

  it("is nothing any more once the agent has ended", async () => {
    const { door, token } = open();
    const request = `GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: ${token}\r\n\r\n`;
    expect(await sayAt(door, request)).toMatch(/^HTTP\/1.1 200/);
    door.judge({ exit: { exitCode: 0, signal: null, durationMs: 1, cause: "exited" }, failure: null });
    expect(await sayAt(door, request)).toMatch(/^HTTP\/1.1 401/);
    expect(came).toHaveLength(1);
  });
});
