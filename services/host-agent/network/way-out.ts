// The only way out of an instance whose network is its own: an HTTP proxy at the host's end of a door, which no port
// leads to. It connects to what is allowed, by CONNECT or by a plain http:// request, and to the very addresses that it
// has judged, as soon as one of them answers; everything else is refused in words.
import type { LookupAddress } from "node:dns";
import { lookup } from "node:dns/promises";
import {
  type ClientRequest,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { connect, isIP, type LookupFunction } from "node:net";
import { type Duplex, pipeline } from "node:stream";
import type { AllowedHost } from "../../../shared/contracts/network.ts";
import { givingOnly, isOnInternet } from "./address.ts";
import { oneAtATime } from "./one-at-a-time.ts";
import { answersHeaders, isAnswer, requestsHeaders } from "./passed-on.ts";
import { isOn, type NetworkPlan } from "./plan.ts";
import type { Refusals } from "./refusals.ts";

const CONNECT_MS = 15_000;
const HTTP_PORT = 80;

export interface WayOutOptions {
  plan: Pick<NetworkPlan, "lists" | "remedy">;
  /** Addresses that this host's owner has named are reached though they are nobody's on the internet. */
  owners: readonly AllowedHost[];
  refusals: Refusals;
}

type Answer = { ok: true; lookup: LookupFunction } | { ok: false; status: 403 | 502; message: string };

export interface WayOut {
  /** A connection from inside. */
  answer(stream: Duplex): void;
}

export function wayOut(options: WayOutOptions): WayOut {
  const server = createServer(oneAtATime((request, response) => void forward(request, response)));
  server.on("connect", (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    void lead(request, stream, head);
  });
  server.on("upgrade", (_request, stream: Duplex) => stream.destroy());
  server.on("clientError", (_error, stream: Duplex) => stream.destroy());

  async function lead({ url = "" }: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    stream.on("error", () => {});
    const place = placeOf(`https://${url}`);
    const answer = place === null ? NO_PLACE : await judge(place, options);
    if (stream.destroyed) return;
    if (place === null || !answer.ok) {
      const { status, message } = answer as Extract<Answer, { ok: false }>;
      stream.end(`HTTP/1.1 ${status} ${REASONS[status]}\r\nconnection: close\r\n${inText(message)}`);
      return;
    }
    const socket = connect({
      ...{ host: place.host, port: place.port, lookup: answer.lookup },
      timeout: CONNECT_MS,
    });
    const fail = (why: string) => {
      const message = `agent-mesh: ${url} cannot be reached: ${why}\n`;
      stream.end(`HTTP/1.1 502 ${REASONS[502]}\r\nconnection: close\r\n${inText(message)}`);
    };
    const onError = (error: Error) => fail(error.message);
    socket.once("error", onError);
    socket.once("timeout", () => socket.destroy(new Error("it does not answer")));
    stream.once("close", () => socket.destroy());
    socket.once("connect", () => {
      socket.off("error", onError);
      socket.setTimeout(0);
      stream.write("HTTP/1.1 200 Connection established\r\n\r\n");
      if (head.length > 0) socket.write(head);
      const over = () => {};
      pipeline(stream, socket, over);
      pipeline(socket, stream, over);
    });
  }

  async function forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? "";
    const place = /^http:/i.test(url) ? placeOf(url) : null;
    const answer = place === null ? NO_PLACE : await judge(place, options);
    if (place === null || !answer.ok) {
      const { status, message } = answer as Extract<Answer, { ok: false }>;
      return refuse(response, status, message);
    }
    const onward: ClientRequest = httpRequest({
      ...{ host: place.host, port: place.port, lookup: answer.lookup },
      ...{ path: place.path, method: request.method },
      // Whoever names another host than the one that was judged is led to that one all the same.
      headers: { ...requestsHeaders(request), host: place.authority, connection: "close" },
      // Not by way of any proxy of the host's.
      agent: false,
      timeout: CONNECT_MS,
    });
    const fail = (why: string) => {
      if (response.headersSent) return void response.destroy();
      return refuse(response, 502, `agent-mesh: ${place.host} cannot be reached: ${why}\n`);
    };
    onward.once("timeout", () => onward.destroy(new Error("it does not answer")));
    onward.once("response", (answered) => {
      onward.setTimeout(0);
      if (!isAnswer(answered)) {
        answered.destroy();
        return fail(`its answer has the status ${answered.statusCode}`);
      }
      response.writeHead(answered.statusCode ?? 502, answersHeaders(answered));
      pipeline(answered, response, () => {});
    });
    onward.on("error", (error) => fail(error.message));
    // Without an error too, as when it would go on as something else than HTTP.
    onward.once("close", () => {
      if (!response.headersSent) fail("it has broken off");
    });
    response.once("close", () => onward.destroy());
    pipeline(request, onward, () => {});
  }

  return { answer: (stream) => void server.emit("connection", stream) };
}

const REASONS = { 403: "Forbidden", 502: "Bad Gateway" };
const NO_PLACE: Answer = {
  ok: false,
  status: 403,
  message: "agent-mesh: this is an HTTP proxy: give it a whole http:// URL, or CONNECT host:port\n",
};

const inText = (message: string): string =>
  `content-type: text/plain\r\ncontent-length: ${Buffer.byteLength(message)}\r\n\r\n${message}`;

function refuse(response: ServerResponse, status: keyof typeof REASONS, message: string): void {
  const headers = {
    ...{ "content-type": "text/plain", "content-length": Buffer.byteLength(message) },
    connection: "close",
  };
  response.writeHead(status, headers).end(message);
}

interface Place {
  /** Without the brackets of an address of version 6. */
  host: string;
  port: number;
  /** Both of them, as a request names them. */
  authority: string;
  path: string;
}

function placeOf(text: string): Place | null {
  if (!URL.canParse(text)) return null;
  const { protocol, host, hostname, port, pathname, search } = new URL(text);
  if (hostname === "" || (protocol !== "https:" && protocol !== "http:")) return null;
  const usual = protocol === "https:" ? 443 : HTTP_PORT;
  return {
    host: hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? usual : Number(port),
    authority: host,
    path: `${pathname}${search}`,
  };
}

/** The addresses to connect to are those that were judged: a name may mean another one a moment later. */
async function judge({ host, port }: Place, { plan, owners, refusals }: WayOutOptions): Promise<Answer> {
  const place = `${host}:${port}`;
  const refuse = (why: string): Answer => {
    refusals.add(place, why);
    return { ok: false, status: 403, message: `agent-mesh: ${place} is refused: ${why}\n` };
  };
  if (!plan.lists.every((list) => isOn(list, host, port)))
    return refuse(`it is not allowed (${plan.remedy})`);
  const addresses = isIP(host) === 0 ? await addressesOf(host) : [host];
  if (typeof addresses === "string")
    return { ok: false, status: 502, message: `agent-mesh: ${host} is not found: ${addresses}\n` };
  const mayBe = (address: string) => isOnInternet(address) || isOn(owners, address, port);
  const led = addresses.filter(mayBe);
  if (led.length > 0) return { ok: true, lookup: givingOnly(led) };
  return refuse(
    `it is ${addresses.join(", ")}, which is no address of the internet (this host's owner may name an address in MESH_HOST_ALLOWED_HOSTS)`,
  );
}

/** Or why there is none. */
async function addressesOf(host: string): Promise<string[] | string> {
  try {
    const found: LookupAddress[] = await lookup(host, { all: true });
    return found.map(({ address }) => address);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? (error as Error).message;
  }
}
