// Runs inside the instance, beside the agent: starts a server of coder/agentapi, and passes on over its own stdin and
// stdout what that one tells and is told by HTTP. So the host opens no connection into an instance. It decides nothing,
// imports only what every Node has, and ends with its stdin, or with the server.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createInterface } from "node:readline";

/** Argv: how long the screen has to stay as it is until that is told, each in ms; `--`; the server's command. */
const split = process.argv.indexOf("--");
const told = process.argv.slice(1, split).map(Number);
const [program = "", ...args] = process.argv.slice(split + 1);

/** Time is counted in looks: while all of it was frozen, nothing has been still. */
const LOOK_MS = 250;
/** A screen that moves is told no more often. */
const SAY_MS = 1_000;
const CLOSE_MS = 5_000;

const server = spawn(program, args, {
  // A free port of the system's choice: no other program can have been there before.
  env: { ...process.env, AGENTAPI_PORT: "0" },
  stdio: ["ignore", 2, 2],
});
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);

let base = "";
let status = "running";
let screen = "";
/** Counts what has changed: who answers a screen names the one that he saw. */
let sequence = 0;
let stillMs = 0;
let saidSequence = -1;
let unsaidMs = 0;

server.on("error", (error) => {
  say({ type: "ended", message: error.message });
  process.exit(0);
});
server.on("exit", (code, signal) => {
  say({ type: "ended", message: signal === null ? `it exited ${code}` : `it was ended by ${signal}` });
  process.exit(0);
});

const looking = setInterval(look, LOOK_MS);
function look(): void {
  if (base === "") {
    const port = listeningPort(server.pid);
    if (port === null) return;
    base = `http://localhost:${port}`;
    return void follow();
  }
  const before = stillMs;
  stillMs += LOOK_MS;
  unsaidMs += LOOK_MS;
  const isDue = told.some((ms) => before < ms && stillMs >= ms);
  if (!isDue && (sequence === saidSequence || unsaidMs < SAY_MS)) return;
  [saidSequence, unsaidMs] = [sequence, 0];
  say({ type: "view", sequence, status, screen, stillMs });
}

/** A server may drop who listens too slowly: then it tells all that is so anew. */
async function follow(): Promise<void> {
  try {
    const response = await fetch(`${base}/events`);
    const decoder = new TextDecoder();
    let text = "";
    for await (const bytes of response.body ?? []) {
      text += decoder.decode(bytes as Uint8Array, { stream: true });
      const events = text.split("\n\n");
      text = events.pop() ?? "";
      for (const event of events) hear(event);
    }
  } catch (error) {
    process.stderr.write(`its events broke off: ${String(error)}\n`);
  }
  setTimeout(() => void follow(), LOOK_MS);
}

function hear(event: string): void {
  const [, type] = /^event: (.*)$/m.exec(event) ?? [];
  const [, data = "{}"] = /^data: (.*)$/m.exec(event) ?? [];
  const body = JSON.parse(data) as { status?: string; role?: string; message?: string };
  if (type === "agent_error") say({ type: "error", message: body.message ?? "" });
  if (type === "status_change" && body.status !== undefined && body.status !== status) {
    status = body.status;
    // It moves without a change for a while, and then may have been at work until now.
    if (status === "stable") changed();
  }
  if (type === "message_update" && body.role === "agent") {
    const next = (body.message ?? "")
      .replace(/[ \t\u00a0]+$/gm, "")
      .replace(/\n{3,}/g, "\n\n")
      .trim();
    const hasMoved = wordsOf(next) !== wordsOf(screen);
    screen = next;
    if (hasMoved) changed();
  }
}

function changed(): void {
  sequence++;
  stillMs = 0;
}

/** A spinner or a clock that moves is no sign of work. */
function wordsOf(text: string): string {
  return text.replace(/[^\p{L}]/gu, "");
}

/** The port on which the server itself listens: what another process has opened is not taken for it. */
function listeningPort(pid: number | undefined): number | null {
  try {
    const links = readdirSync(`/proc/${pid}/fd`).map((name) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${name}`);
      } catch {
        return "";
      }
    });
    const own = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
    for (const family of ["tcp", "tcp6"])
      for (const line of readFileSync(`/proc/${pid}/net/${family}`, "utf8").split("\n")) {
        const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
        if (state === "0A" && own.has(inode)) return Number.parseInt(local.split(":")[1] ?? "", 16);
      }
  } catch {
    // It has not begun, or has ended.
  }
  return null;
}

const orders = createInterface({ input: process.stdin });
orders.on("line", (line) => void obey(JSON.parse(line) as Order));
orders.on("close", () => {
  clearInterval(looking);
  server.kill("SIGTERM");
  setTimeout(() => server.kill("SIGKILL"), CLOSE_MS);
});

interface Order {
  type: "user" | "raw";
  content: string;
  /** It is an answer to this screen, and to no later one. */
  sequence?: number;
}

async function obey({ type, content, sequence: seen }: Order): Promise<void> {
  const isLate = seen !== undefined && seen !== sequence;
  const ok = base !== "" && !isLate && (await post({ type, content }));
  // What it shows from now on is new, even if it is the same again.
  if (ok) changed();
  say({ type: "posted", order: type, ok });
}

const post = (message: object): Promise<boolean> =>
  fetch(`${base}/message`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(message),
  }).then(
    (response) => response.ok,
    () => false,
  );
