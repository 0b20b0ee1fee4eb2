// A bus that does not want us ends a service and a client at once, with words that a person can act on; one that is
// merely away is waited for by services. Wrong certificates are in the test of the second machine.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, inject, it, onTestFinished, vi } from "vitest";
import { certificateEnd } from "../../services/cli/doctor/certificate.ts";
import { connectBus } from "../../shared/bus/connect.ts";
import { makeCertificate, opensslIsThere } from "../support/certificate.ts";
import { type Ended, runMesh } from "../support/mesh-program.ts";
import { startNats } from "../support/nats.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const SERVICES = ["gateway", "scheduler", "status-tracker", "host-agent"] as const;
const SCHEDULER = ["scheduler"] as const;

async function startService(name: string, env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const dataDir = await mkdtemp(path.join(tmpdir(), "mesh-refused-"));
  const child = spawn(process.execPath, [path.join(ROOT, "services", name, "main.ts")], {
    env: { PATH: process.env.PATH, MESH_DATA_DIR: dataDir, MESH_HTTP_PORT: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null && child.kill("SIGKILL"))
      await once(child, "exit");
    await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
  });
  return child;
}

async function endedOf(child: ChildProcess): Promise<Ended> {
  if (child.stdout === null || child.stderr === null) throw new Error("its output is not piped");
  const [[code], stdout, stderr] = await Promise.all([
    once(child, "close"),
    text(child.stdout),
    text(child.stderr),
  ]);
  return { code: code as number | null, stdout, stderr };
}

/** A server of an age that cannot be had here any more: enough of the protocol to be connected to. */
async function startOldServer(version: string, port = 0): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    const info = {
      server_id: "old",
      version,
      host: "127.0.0.1",
      port: 0,
      headers: true,
      max_payload: 1_048_576,
    };
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on("data", (data) => {
      if (data.includes("PING")) socket.write("PONG\r\n");
    });
  }).listen(port, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `nats://127.0.0.1:${(server.address() as { port: number }).port}`;
}

/** A nats-server that listens as it is told, on any port of this machine: that port. */
async function startServer(args: string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
  const program = spawn(inject("natsServerProgram"), [...args, "-a", "127.0.0.1", "-p", "-1"], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  onTestFinished(async () => {
    if (program.kill("SIGKILL")) await once(program, "exit");
  });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let said = "";
  program.once("exit", () => reject(new Error(`nats-server did not start: ${said}`)));
  // Read to its end: it would die of a closed pipe.
  program.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
    const port = /client connections on \S+:(\d+)/.exec(said)?.[1];
    if (port !== undefined) resolve(Number(port));
  });
  return promise;
}

/** What it prints, line by line, as it comes. */
function linesOf(child: ChildProcess): string[] {
  const lines: string[] = [];
  child.stdout?.on("data", (chunk: Buffer) => lines.push(...chunk.toString().trim().split("\n")));
  return lines;
}

const until = (lines: string[], words: string): Promise<boolean> =>
  vi.waitUntil(() => lines.some((line) => line.includes(words)), { timeout: 20_000, interval: 20 });

interface Refusal {
  why: string;
  /** The address that is given. */
  url: () => Promise<string>;
  env?: NodeJS.ProcessEnv;
  words: RegExp;
  services?: readonly string[];
}

const withToken = async () => {
  const nats = await startNats({ token: "right" });
  onTestFinished(() => nats[Symbol.asyncDispose]());
  return nats.url;
};

const REFUSALS: Refusal[] = [
  {
    why: "does not know the token",
    url: async () => (await withToken()).replace("right@", "wrong@"),
    words:
      /^(?!.*wrong).*NATS at nats:\/\/127\.0\.0\.1:\d+ does not let us in .*expected its token in the URL/s,
    services: SERVICES,
  },
  {
    why: "wants a token where none is given",
    url: async () => (await withToken()).replace("right@", ""),
    words: /does not let us in .*expected its token in the URL/,
  },
  {
    why: "speaks no TLS where TLS is wanted",
    url: async () => (await withToken()).replace("nats://", "tls://"),
    words: /NATS at tls:\S+ speaks no TLS/,
  },
  {
    why: "is too old",
    url: () => startOldServer("2.11.11"),
    words: /nats-server 2\.11\.11 is too old: agent-mesh needs 2\.\d+\.\d+ or newer/,
    services: SERVICES,
  },
  {
    why: "is to be checked by a file that is not there",
    url: withToken,
    env: { NATS_CA_FILE: "/nowhere/ca.pem" },
    words: /NATS_CA_FILE: cannot read \/nowhere\/ca\.pem/,
  },
];

describe.each(REFUSALS)("a bus that $why", ({ url, env, words, services = SCHEDULER }) => {
  it.each(services)("ends the %s at once, with words and exit code 2", async (name) => {
    const child = await startService(name, { NATS_URL: await url(), ...env });
    const { code, stderr } = await endedOf(child);
    expect({ code, lines: stderr.split("\n    at ").length }).toStrictEqual({ code: 2, lines: 1 });
    expect(stderr).toMatch(words);
    expect(stderr.startsWith(`${name}: `)).toBe(true);
  });

  it("fails a verb of the command line at once, with words and exit code 1", async () => {
    const { code, stdout, stderr } = await runMesh(["tasks"], { env: { NATS_URL: await url(), ...env } });
    expect({ code, stdout }).toStrictEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(words);
  });
});

describe("a bus without JetStream", () => {
  it("ends a service at once, with words", async () => {
    const child = await startService("scheduler", { NATS_URL: `nats://127.0.0.1:${await startServer([])}` });
    const { code, stderr } = await endedOf(child);
    expect(code).toBe(2);
    expect(stderr).toContain("runs without JetStream");
  });
});

describe.skipIf(!opensslIsThere)("a bus with TLS that is named by its address", () => {
  it.each([
    ["IP:127.0.0.1", "lets us in"],
    ["DNS:localhost", "is refused: its certificate is for another name"],
  ])("and whose certificate is for %s %s", async (name) => {
    const folder = await mkdtemp(path.join(tmpdir(), "mesh-tls-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const { certFile, keyFile } = makeCertificate(folder, name);
    const port = await startServer(["-c", path.join(ROOT, "nats.conf"), "-m", "-1"], {
      NATS_TOKEN: "mesh-token",
      NATS_STORE_DIR: path.join(folder, "store"),
      NATS_TLS_CERT: certFile,
      NATS_TLS_KEY: keyFile,
    });
    const url = `tls://mesh-token@127.0.0.1:${port}`;
    const connected = connectBus({ url, name: "test", caFile: certFile });
    if (name.startsWith("IP:")) {
      await using bus = await connected;
      expect(bus.connectedSince()).not.toBeNull();
    } else await expect(connected).rejects.toThrow(/is for another name: .*127\.0\.0\.1/);
    const leftMs = ((await certificateEnd(url))?.getTime() ?? 0) - Date.now();
    expect(Math.round(leftMs / 86_400_000)).toBe(30);
  });
});

describe("a bus that has come back", () => {
  it("is not used when it is too old: the service ends, with words", async () => {
    const nats = await startNats();
    const child = await startService("scheduler", { NATS_URL: nats.url });
    const ended = endedOf(child);
    await until(linesOf(child), '"ready"');
    await nats[Symbol.asyncDispose]();
    await startOldServer("2.11.11", nats.port);
    const { code, stderr } = await ended;
    expect(code).toBe(2);
    expect(stderr).toMatch(/^scheduler: NATS at \S+: nats-server 2\.11\.11 is too old/);
  });

  it("with another token is waited for, in words: what was let in once holds work", async () => {
    const dataDir = await mkdtemp(path.join(tmpdir(), "mesh-token-"));
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
    const start = (token: string, port = 0) => startNats({ dataDir, token, port });
    const first = await start("right");
    const reasons: string[] = [];
    const onWaiting = (reason: string) => reasons.push(reason);
    await using bus = await connectBus({ url: first.url, name: "test", wait: true, onWaiting });
    await first[Symbol.asyncDispose]();
    const other = await start("changed", first.port);
    await until(reasons, "does not let us in");
    expect(bus.connectedSince()).toBeNull();
    await other[Symbol.asyncDispose]();
    await using _ = await start("right", first.port);
    await vi.waitUntil(() => bus.connectedSince() !== null, { timeout: 20_000, interval: 20 });
    expect(reasons).toHaveLength(1);
  });
});

describe("a bus that is away", () => {
  it("is waited for by a service, which says so once and is ready when it comes", async () => {
    const dataDir = await mkdtemp(path.join(tmpdir(), "mesh-away-"));
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
    const first = await startNats({ dataDir });
    await first[Symbol.asyncDispose]();
    const child = await startService("scheduler", { NATS_URL: first.url });
    const lines = linesOf(child);
    await until(lines, "waiting for the bus");
    await using second = await startNats({ dataDir, port: first.port });
    await until(lines, '"ready"');
    expect(second.port).toBe(first.port);
    expect(lines.filter((line) => line.includes("waiting for the bus"))).toHaveLength(1);
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toStrictEqual([0, null]);
  });

  it("can be given up by a signal, at once", async () => {
    const child = await startService("scheduler", { NATS_URL: "nats://127.0.0.1:9" });
    if (child.stdout === null) throw new Error("its output is not piped");
    for await (const chunk of child.stdout) if (String(chunk).includes("waiting for the bus")) break;
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toStrictEqual([0, null]);
  });

  it("fails a verb of the command line within seconds", async () => {
    const { code, stderr } = await runMesh(["tasks"], { env: { NATS_URL: "nats://127.0.0.1:9" } });
    expect(code).toBe(1);
    expect(stderr).toContain("cannot reach NATS at nats://127.0.0.1:9");
  });
});
