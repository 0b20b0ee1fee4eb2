// The provider's Messages API on loopback, as far as an agent needs it: what the model answers is a script, a turn for
// each request. It must hold no expectations.
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** `$CWD` in a tool's input is the agent's working folder. */
type Block = { text: string; everyMs?: number } | { tool: string; input: Record<string, unknown> };
/** What a request is answered by: content, a failure, nothing at all, or a connection that breaks. */
export type Turn = Block[] | { status: number; error: string; message: string } | "hang" | "cut";

export interface MessagesApi extends AsyncDisposable {
  readonly url: string;
  /** Every request for an answer of the model, without those about titles and the like. */
  readonly requests: { key: string | undefined; messages: string; system: string; tools: string }[];
  /** From now on; the last turn answers whatever comes after it. */
  play(...turns: Turn[]): void;
}

interface Asked {
  model?: string;
  stream?: boolean;
  tools?: unknown[];
  system?: unknown;
  messages?: unknown[];
}

export async function startMessagesApi(): Promise<MessagesApi> {
  const requests: MessagesApi["requests"] = [];
  let script: Turn[] = [];
  let next = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { pathname } = new URL(request.url ?? "/", "http://stub");
      if (request.method !== "POST" || pathname !== "/v1/messages") return void response.writeHead(404).end();
      const asked = JSON.parse(Buffer.concat(chunks).toString()) as Asked;
      if (!asked.tools?.length) return void answer(response, asked, [{ text: "A side question." }]);
      const key = request.headers["x-api-key"];
      const [messages, system, tools] = [asked.messages, asked.system, asked.tools].map((part) =>
        JSON.stringify(part ?? null),
      ) as [string, string, string];
      requests.push({ key: key?.toString(), messages, system, tools });
      const turn = script[Math.min(next++, script.length - 1)] ?? [{ text: "Done." }];
      void give(response, asked, turn);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    play(...turns) {
      script = turns;
      next = 0;
      requests.length = 0;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

async function give(response: ServerResponse, asked: Asked, turn: Turn): Promise<void> {
  if (turn === "hang") return;
  if (turn === "cut") {
    begin(response, asked);
    await delay(20);
    response.destroy();
    return;
  }
  if (Array.isArray(turn)) return answer(response, asked, turn);
  const { status, error: type, message } = turn;
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ type: "error", error: { type, message } }));
}

async function answer(response: ServerResponse, asked: Asked, blocks: Block[]): Promise<void> {
  const reason = blocks.some((block) => "tool" in block) ? "tool_use" : "end_turn";
  const content = blocks.map((block) => contentOf(block, asked));
  if (!asked.stream) {
    const usage = { input_tokens: 1_000, output_tokens: 50 };
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ ...message(asked), content, stop_reason: reason, usage }));
    return;
  }
  begin(response, asked);
  for (const [index, block] of blocks.entries()) {
    const whole = content[index];
    if ("tool" in block) {
      say(response, "content_block_start", { index, content_block: { ...whole, input: {} } });
      const delta = { type: "input_json_delta", partial_json: JSON.stringify(whole?.input) };
      say(response, "content_block_delta", { index, delta });
    } else {
      say(response, "content_block_start", { index, content_block: { type: "text", text: "" } });
      for (const text of block.text.match(/[^]{1,20}/g) ?? []) {
        say(response, "content_block_delta", { index, delta: { type: "text_delta", text } });
        if (block.everyMs !== undefined) await delay(block.everyMs);
      }
    }
    say(response, "content_block_stop", { index });
  }
  const delta = { stop_reason: reason, stop_sequence: null };
  say(response, "message_delta", { delta, usage: { output_tokens: 50 } });
  say(response, "message_stop", {});
  response.end();
}

function begin(response: ServerResponse, asked: Asked): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const usage = { input_tokens: 1_000, output_tokens: 1 };
  say(response, "message_start", { message: { ...message(asked), content: [], stop_reason: null, usage } });
}

const say = (response: ServerResponse, type: string, data: object): void =>
  void response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);

let count = 0;
const message = ({ model }: Asked) => ({
  id: `msg_stub${++count}`,
  type: "message",
  role: "assistant",
  model,
  stop_sequence: null,
});

function contentOf(block: Block, asked: Asked): { type: string; input?: unknown } {
  if (!("tool" in block)) return { type: "text", ...{ text: block.text } };
  const input = JSON.parse(JSON.stringify(block.input).replaceAll("$CWD", folderOf(asked))) as unknown;
  return { type: "tool_use", ...{ id: `toolu_stub${++count}`, name: block.tool }, input };
}

/** An agent tells the model where it works. */
const folderOf = ({ system, messages }: Asked): string =>
  /orking directory: ([^\s"\\]+)/.exec(JSON.stringify([system, messages]))?.[1] ?? "/";
