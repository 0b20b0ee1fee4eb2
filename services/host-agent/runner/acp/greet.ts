// A greeting of a program that speaks ACP, where it is: it is started, greeted and ended again, with a home that goes with
// it, as an attempt's does. What its answer means is the caller's.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Answer, Peer } from "./peer.ts";
import { INITIALIZE } from "./session.ts";

/** Its answer, or why there will be none. */
export type GreetProgram = (argv: string[], env: Record<string, string>) => Promise<Answer | string>;

export const GREETING_MS = 20_000;

/** On this machine. */
export const greetHere: GreetProgram = async (argv, env) => {
  const home = await mkdtemp(path.join(tmpdir(), "mesh-probe-"));
  try {
    return await greet(argv, { PATH: process.env.PATH, HOME: home, ...env });
  } finally {
    await rm(home, { recursive: true, force: true, maxRetries: 5 });
  }
};

async function greet([program = "", ...args]: string[], env: NodeJS.ProcessEnv): Promise<Answer | string> {
  const child = spawn(program, args, {
    env,
    stdio: ["pipe", "pipe", "ignore"],
    // With a group of its own, so that what it has started ends with it.
    detached: process.platform !== "win32",
    windowsHide: true,
  });
  const peer = new Peer({
    write: (text) => child.stdin.write(text),
    onRequest: (id, method) => peer.refuse(id, method),
    onNotification: () => {},
    onNoise: () => {},
  });
  child.stdin.on("error", () => {});
  child.stdout.on("data", (bytes: Buffer) => peer.hear(bytes));
  const ended = once(child, "exit").then(
    ([code, signal]) =>
      signal === null ? `it exited ${code} before it had greeted` : `it ended by ${signal}`,
    (error: Error) => error.message,
  );
  const timer = setTimeout(() => peer.close(), GREETING_MS);
  const answer = await Promise.race([peer.request("initialize", INITIALIZE), ended]);
  clearTimeout(timer);
  end(child);
  await ended;
  return answer;
}

function end(child: ChildProcess): void {
  if (child.pid === undefined) return;
  if (process.platform === "win32") child.kill();
  else
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // All of it has ended by itself.
    }
}
