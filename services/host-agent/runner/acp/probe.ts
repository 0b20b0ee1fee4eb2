// Whether an agent that speaks ACP can be used on this host: it is started, greeted and ended again, with a home that
// goes with it, as an attempt's does.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Probe } from "../runner.ts";
import type { AcpAgent } from "./driver.ts";
import { type Answer, Peer } from "./peer.ts";
import { Hello, INITIALIZE } from "./session.ts";

const PROBE_MS = 20_000;

export async function probeAcp({ argv, env, version: wanted }: AcpAgent): Promise<Probe> {
  const [program = ""] = argv;
  const home = await mkdtemp(path.join(tmpdir(), "mesh-probe-"));
  try {
    const answer = await greet(argv, { PATH: process.env.PATH, HOME: home, ...env });
    if (typeof answer === "string") return { ok: false, reason: `${program}: ${answer}` };
    if (!answer.ok)
      return {
        ok: false,
        reason: `${program}: ${answer.error?.message ?? `no greeting within ${PROBE_MS / 1_000} s`}`,
      };
    const hello = Hello.safeParse(answer.result);
    if (!hello.success) return { ok: false, reason: `${program} does not speak version 1 of ACP` };
    const version = hello.data.agentInfo?.version ?? "unknown";
    if (wanted !== undefined && version !== wanted)
      return { ok: false, reason: `${program} is ${version}; version = "${wanted}" is wanted` };
    return { ok: true, version };
  } finally {
    await rm(home, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Its answer, or why there will be none. */
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
  const timer = setTimeout(() => peer.close(), PROBE_MS);
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
