// OpenAI's Responses API on loopback, as far as Codex needs it. It must hold no expectations.
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Line, Provider } from "./provider.ts";

export interface ResponsesApi extends Provider, AsyncDisposable {}

export async function startResponsesApi(): Promise<ResponsesApi> {
  const requests: { key: string | undefined; body: string }[] = [];
  let script: Line[] = [];
  let next = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.method !== "POST" || request.url !== "/v1/responses")
        return void response.writeHead(404).end();
      const key = request.headers.authorization?.replace("Bearer ", "");
      requests.push({ key, body: Buffer.concat(chunks).toString() });
      give(response, script[Math.min(next++, script.length - 1)] ?? { say: "Done." });
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    keys: () => requests.map(({ key }) => key),
    told: () => requests.at(-1)?.body ?? "",
    play(...lines) {
      script = lines;
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

let count = 0;

function give(response: ServerResponse, line: Line): void {
  if (line === "hang") return;
  if ("refuse" in line) {
    response.writeHead(line.refuse, { "content-type": "application/json" });
    response.end(
      JSON.stringify({ error: { message: `stub says ${line.refuse}`, type: "error", code: "error" } }),
    );
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  const say = (type: string, data: object) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
  const id = `stub_${++count}`;
  say("response.created", { response: { id } });
  const item =
    "say" in line
      ? { type: "message", role: "assistant", id, content: [{ type: "output_text", text: line.say }] }
      : {
          type: "custom_tool_call",
          id,
          call_id: id,
          namespace: "functions",
          name: "exec",
          // Its shell is called by a script.
          input: `text(await tools.exec_command(${JSON.stringify({ cmd: line.run })}))`,
        };
  say("response.output_item.done", { item });
  const usage = {
    input_tokens: 10,
    input_tokens_details: null,
    output_tokens: 5,
    output_tokens_details: null,
  };
  say("response.completed", { response: { id, usage: { ...usage, total_tokens: 15 } } });
  response.end();
}
