// The service behind the fake wsl.exe, one for each state folder and Windows user: it alone starts and stops distros,
// one at a time, and ends when nothing needs it.
import { existsSync, unlinkSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { changes } from "./changes.ts";
import { readFaults } from "./faults.ts";
import { Machine } from "./machine.ts";
import { Registry } from "./registry.ts";
import { runInside } from "./running.ts";
import { type Answer, type Request, socketFile, userFolder } from "./service-line.ts";

const [stateDir = "", user = ""] = process.argv.slice(2);
const registry = new Registry(stateDir, user);
const socketPath = socketFile(stateDir, user);
const machine = new Machine(userFolder(stateDir, user), (id) => void locked(() => machine.stop(id)));
const LINGER_MS = 2_000;

let previous: Promise<unknown> = Promise.resolve();
/** The one lock of a user: what starts, stops and lists distros waits here. */
function locked<Value>(act: () => Promise<Value>): Promise<Value> {
  const next = previous.then(act);
  previous = next.catch(() => {});
  return next;
}

const operations = changes(registry, machine, locked, () => readFaults(stateDir));

async function answer(request: Request, socket: Socket): Promise<Answer> {
  const faults = readFaults(stateDir);
  if (request.op === "inject") return inject(request.what);
  if (request.op === "shutdown") {
    if (faults.unexpected) {
      const { unexpected: _, ...others } = faults;
      writeFileSync(`${stateDir}/faults.json`, JSON.stringify(others));
    }
    await locked(() => machine.shutdown());
    return { done: true };
  }
  if (faults.code !== undefined) return { error: faults.code };
  if (faults.unexpected) return { error: "Wsl/Service/E_UNEXPECTED" };
  if (request.op === "run") return runInside(request, socket, { registry, machine, locked, faults });
  return operations(request);
}

async function inject(what: Extract<Request, { op: "inject" }>["what"]): Promise<Answer> {
  if (what === "relay-oom")
    for (const { relays } of machine.instances.values()) for (const relay of relays) relay.kill("SIGKILL");
  // Not locked: it asks nobody.
  else await machine.shutdown();
  if (what === "stop-service") setImmediate(end);
  return { done: true };
}

let connections = 0;
let lingering: NodeJS.Timeout | undefined;
const server = createServer((socket) => {
  connections++;
  clearTimeout(lingering);
  socket.on("error", () => {});
  socket.once("close", () => {
    connections--;
    linger();
  });
  createInterface({ input: socket }).once("line", (line) => {
    void answer(JSON.parse(line) as Request, socket).then((said) => {
      if (!socket.destroyed) socket.write(`${JSON.stringify(said)}\n`);
      if (!("started" in said)) socket.end();
    });
  });
});

/** Without its folder it is nobody's. */
setInterval(() => {
  if (!existsSync(socketPath)) void machine.shutdown().then(end);
}, LINGER_MS).unref();

function linger(): void {
  clearTimeout(lingering);
  if (connections > 0) return;
  lingering = setTimeout(() => (machine.isRunning ? linger() : end()), LINGER_MS);
}

function end(): void {
  try {
    unlinkSync(socketPath);
  } catch {
    // The folder has gone: nobody needs any of this.
  }
  process.exit(0);
}

/** Of two that are begun at once, one serves: a socket that answers is somebody's. */
async function listen(): Promise<void> {
  for (;;) {
    const taken = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(true));
      server.listen(socketPath, () => resolve(false));
    });
    if (!taken) return;
    const { connect } = await import("node:net");
    const lives = await new Promise<boolean>((resolve) => {
      const probe = connect(socketPath, () => resolve(true)).once("error", () => resolve(false));
      probe.once("connect", () => probe.destroy());
    });
    if (lives) process.exit(0);
    await delay(Math.random() * 20);
    unlinkSync(socketPath);
  }
}

for (const signal of ["SIGHUP", "SIGINT"] as const) process.on(signal, () => {});
process.on("SIGTERM", () => void machine.shutdown().then(end));
await listen();
linger();
