// The line between the fake wsl.exe and its service, one for each state folder: requests and answers as lines of JSON.
// The service is begun by whoever needs it first.
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

export type Request =
  | { op: "list"; all: boolean; running: boolean }
  | { op: "look"; name: string | null }
  | { op: "terminate"; name: string }
  | { op: "shutdown" }
  | { op: "import"; name: string; folder: string; file: string; kind: "tar" | "vhd" }
  | { op: "importInPlace"; name: string; disk: string }
  | { op: "export"; name: string; file: string; kind: string }
  | { op: "unregister"; name: string }
  | { op: "setDefault"; name: string }
  | { op: "setDefaultUser"; name: string; user: string }
  | {
      op: "run";
      name: string;
      user: string | null;
      folder: string;
      command: string[];
      env: Record<string, string>;
      pipes: string;
    }
  /** For tests alone: what no command line does. */
  | { op: "inject"; what: "vm-crash" | "log-off" | "relay-oom" | "stop-service" };

export interface ListedDistro {
  name: string;
  isDefault: boolean;
  state: string;
}

export type Answer =
  | { distros: ListedDistro[] }
  | { name: string }
  | { done: true }
  | { started: true }
  | { exit: number }
  | { error: string; message?: string };

const START_MS = 15_000;
const POLL_MS = 10;

/** Where everything of one Windows user lies: each has a virtual machine of its own. */
export const userFolder = (stateDir: string, user: string): string => path.join(stateDir, "users", user);
export const socketFile = (stateDir: string, user: string): string =>
  path.join(userFolder(stateDir, user), "service");

/** Connects to the service, which is started if there is none. */
export async function reachService(stateDir: string, user: string): Promise<Socket> {
  const deadline = Date.now() + START_MS;
  for (let started = false; ; ) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect(socketFile(stateDir, user), () => resolve(socket)).once("error", reject);
      });
    } catch (error) {
      if (Date.now() > deadline) throw error;
      if (!started) {
        const service = path.join(import.meta.dirname, "service.ts");
        mkdirSync(userFolder(stateDir, user), { recursive: true });
        const log = openSync(path.join(userFolder(stateDir, user), "service.log"), "a");
        const stdio = ["ignore", "ignore", log] as const;
        spawn(process.execPath, [service, stateDir, user], {
          detached: true,
          stdio: [...stdio],
          cwd: "/",
        }).unref();
        closeSync(log);
      }
      started = true;
      await delay(POLL_MS);
    }
  }
}

/** The answers to one request, as they come; they end when the service ends. */
export function ask(socket: Socket, request: Request): AsyncIterator<Answer> {
  const lines = createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY });
  socket.write(`${JSON.stringify(request)}\n`);
  const answers = lines[Symbol.asyncIterator]();
  return {
    async next() {
      const { done, value } = await answers.next();
      return done ? { done: true, value: undefined } : { done: false, value: JSON.parse(value) as Answer };
    },
  };
}
