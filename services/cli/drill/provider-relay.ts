// The provider of a drill's agents, on loopback: passes everything on to the real one, and shows the drill what the model
// is asked, which may hold it up. It changes nothing of what is asked or answered, and keeps no key.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** One request for the model's next answer. */
export interface Asked {
  /** Which answer of the session is asked for, the first is 1. */
  turn: number;
  /** Ids of the tools that the model has asked for before. */
  toolIds: string[];
}

export interface ProviderRelay extends AsyncDisposable {
  readonly url: string;
}

/** Of this hop, or for what `fetch` has decoded. */
const NOT_PASSED = ["host", "connection", "content-length", "transfer-encoding", "content-encoding"];

/** `onAsked`: the request is passed on once it resolves, unless whoever asked is gone by then. */
export async function startProviderRelay(
  provider: string,
  onAsked: (asked: Asked, gone: AbortSignal) => Promise<void>,
): Promise<ProviderRelay> {
  const closing = new AbortController();

  async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const asked = askedIn(body);
    if (asked !== null) await onAsked(asked, gone.signal);
    // What nobody waits for any more is not asked either: it would cost all the same.
    gone.signal.throwIfAborted();
    const headers = Object.entries(request.headers).flatMap(([name, value]): [string, string][] =>
      NOT_PASSED.includes(name) || value === undefined ? [] : [[name, String(value)]],
    );
    const answered = await fetch(new URL(`${provider.replace(/\/$/, "")}${request.url}`), {
      method: request.method ?? "GET",
      headers,
      ...(body.length === 0 ? {} : { body }),
      redirect: "manual",
      signal: AbortSignal.any([gone.signal, closing.signal]),
    });
    const passed = [...answered.headers].filter(([name]) => !NOT_PASSED.includes(name));
    response.writeHead(answered.status, Object.fromEntries(passed));
    if (answered.body === null) return void response.end();
    await pipeline(Readable.fromWeb(answered.body), response);
  }

  const server = createServer((request, response) => {
    // Whoever asked sees a connection that breaks, as if the provider's had.
    pass(request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      closing.abort();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** Null for what is no request for a next answer: titles, counts of tokens and the like come without tools. */
export function askedIn(body: Buffer): Asked | null {
  let json: { tools?: unknown; messages?: unknown; max_tokens?: unknown };
  try {
    json = JSON.parse(body.toString()) as typeof json;
  } catch {
    return null;
  }
  const { tools, messages, max_tokens: limit } = json;
  if (!Array.isArray(tools) || tools.length === 0 || !Array.isArray(messages) || limit === undefined)
    return null;
  const answers = (messages as { role?: string; content?: unknown }[]).filter(
    ({ role }) => role === "assistant",
  );
  const toolIds = answers
    .flatMap(({ content }) => (Array.isArray(content) ? (content as { type?: string; id?: string }[]) : []))
    .flatMap(({ type, id }) => (type === "tool_use" && id !== undefined ? [id] : []));
  return { turn: answers.length + 1, toolIds };
}
