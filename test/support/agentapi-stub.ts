// The routes of coder/agentapi that a runner uses, as its version 0.12.1 answers them, around an agent whose screen is a
// script: what it is told says what it does. Run as a program; it must hold no expectations.
import { writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

const MENU = "Do you want to touch asked.txt?\n ❯ 1. Yes\n   2. No\n\n Esc to cancel";

let status: "running" | "stable" = "running";
const messages: { role: "agent" | "user"; message: string }[] = [];
const listeners = new Set<ServerResponse>();
let question = "";

const event = (type: string, data: object) => `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
const update = (id: number) => event("message_update", { id, ...messages[id] });
const tell = (text: string) => {
  for (const listener of listeners) listener.write(text);
};

function is(next: typeof status): void {
  if (next === status) return;
  status = next;
  tell(event("status_change", { status, agent_type: "custom" }));
}

function show(message: string): void {
  if (messages.at(-1)?.role === "agent") messages.pop();
  messages.push({ role: "agent", message: `${message}   \n` });
  tell(update(messages.length - 1));
}

/** What it is asked for stands before what it is told of the pull request. */
async function work(message: string): Promise<void> {
  const [text = ""] = message.split("\n");
  is("running");
  show("Thinking…");
  switch (text) {
    case "die":
      await delay(300);
      console.error("the agent has died");
      process.exit(3);
      break;
    case "spin":
      for (;;) {
        show(`Thinking… ${Date.now() % 10}s`);
        await delay(100);
      }
    case "ask":
      question = MENU;
      return show(MENU);
    case "nag":
      question = "Press enter";
      return show("You may press Enter.");
    default:
      await delay(500);
      writeFileSync("mended.sh", "echo 5\n");
      show(`All is well, after: ${text}`);
  }
  is("stable");
}

/** As with a real one, the Enter at the end of a message is a yes to what is asked. */
function press(keys: string): void {
  if (question !== MENU) return;
  question = "";
  if (keys.endsWith("\r")) writeFileSync("asked.txt", "x\n");
  show(keys.endsWith("\r") ? "It is touched." : "It is left alone.");
  is("stable");
}

function take({ type, content }: { type: string; content: string }): number {
  if (type === "raw") press(content);
  else if (status !== "stable" || content === "" || content !== content.trim()) return 500;
  else {
    press("\r");
    messages.push({ role: "user", message: content });
    tell(update(messages.length - 1));
    void work(content);
  }
  return 200;
}

const server = createServer((request, response) => {
  if (request.headers.host?.split(":")[0] !== "localhost") return void response.writeHead(400).end();
  if (request.method === "GET" && request.url === "/events") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const id of messages.keys()) response.write(update(id));
    response.write(event("status_change", { status, agent_type: "custom" }));
    listeners.add(response);
    return;
  }
  if (request.method !== "POST" || request.url !== "/message") return void response.writeHead(404).end();
  let body = "";
  request.on("data", (bytes: Buffer) => {
    body += bytes.toString();
  });
  request.on("end", () => {
    response.writeHead(take(JSON.parse(body) as { type: string; content: string }));
    response.end(JSON.stringify({ ok: true }));
  });
});
server.listen(Number(process.env.AGENTAPI_PORT));
await delay(300);
show(process.argv[2] ?? "Agent 1.0");
is("stable");
