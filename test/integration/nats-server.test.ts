// A launched nats-server as the mesh relies on it: it enforces its token, keeps its store, has its folder to itself
// and ends with us. Every server here is real; states are waited for with a deadline.
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect as connectTcp, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { execa } from "execa";
import { connect } from "nats";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { z } from "zod";
import { launchNatsServer } from "../../shared/nats-server/launch.ts";
import { isAlive, launchNatsInChild, startNats, untilGone } from "../support/nats.ts";

const onWindows = process.platform === "win32";
const token = `a"b\\c$d é'{}#`;

async function temporaryFolder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "agent-mesh-test-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

const mode = async (path: string) => (await stat(path)).mode & 0o777;

/** What the server says to a raw client that sends this CONNECT. */
async function answerTo(port: number, options: object): Promise<string> {
  const socket = connectTcp({ host: "127.0.0.1", port });
  socket.setEncoding("utf8").write(`CONNECT ${JSON.stringify({ verbose: false, ...options })}\r\nPING\r\n`);
  let text = "";
  for await (const chunk of socket) {
    text += String(chunk);
    if (/PONG|-ERR/.test(text)) break;
  }
  return text;
}

describe("a launched nats-server", () => {
  test("lets in who has the token and nobody else", async () => {
    await using server = await startNats({ token });
    expect(await answerTo(server.port, {})).toContain("-ERR 'Authorization Violation'");
    expect(await answerTo(server.port, { auth_token: "a" })).toContain("-ERR 'Authorization Violation'");
    expect(await answerTo(server.port, { auth_token: token })).toContain("PONG");
    expect(decodeURIComponent(new URL(server.url).username)).toBe(token);
  });

  test.skipIf(onWindows)("keeps its folder and its token to its owner", async () => {
    await using server = await startNats({ token });
    expect(await mode(server.dataDir)).toBe(0o700);
    expect(await mode(join(server.dataDir, "nats-server.conf"))).toBe(0o600);
    expect(await mode(join(server.dataDir, "nats-server.log"))).toBe(0o600);
    const { stdout } = await execa("ps", ["-ww", "-o", "args=", "-p", String(server.pid)]);
    expect(stdout).toContain("nats-server.conf");
    expect(stdout).not.toContain("é'");
  });

  test("has its store again after a restart, on the same port if told so", async () => {
    const dataDir = await temporaryFolder();
    const first = await startNats({ dataDir });
    const client = await connect({ servers: first.url });
    await (await jetstreamManager(client)).streams.add({ name: "LOG", subjects: ["log.>"] });
    await jetstream(client).publish("log.one", "kept");
    await client.close();
    await first[Symbol.asyncDispose]();

    await using second = await startNats({ dataDir, port: first.port });
    expect(second.port).toBe(first.port);
    const again = await connect({ servers: second.url });
    const message = await (await jetstreamManager(again)).streams.getMessage("LOG", { seq: 1 });
    expect(message?.string()).toBe("kept");
    await again.close();
  });

  test("ends when disposed, twice is as good as once, and leaves no watcher behind", async () => {
    const server = await startNats();
    await Promise.all([server[Symbol.asyncDispose](), server[Symbol.asyncDispose]()]);
    expect(await server.exited).toBeDefined();
    expect(await isAlive(server.pid)).toBe(false);
    if (onWindows) return;
    // A watcher that has ended may wait as a zombie (Z) until the system takes note.
    const inItsSession = () => execa("ps", ["-o", "stat=", "-s", String(server.pid)], { reject: false });
    await vi.waitUntil(async () => !/^[^Z]/m.test((await inItsSession()).stdout.trim()), { timeout: 20_000 });
  });

  test.skipIf(onWindows)("is killed when it does not end by itself", async () => {
    const server = await startNats();
    process.kill(server.pid, "SIGSTOP");
    await server[Symbol.asyncDispose]();
    expect(await server.exited).toEqual({ code: null, signal: "SIGKILL" });
  });

  test("says how it ended when it ends on its own, and frees its folder", async () => {
    const dataDir = await temporaryFolder();
    const server = await startNats({ dataDir });
    process.kill(server.pid, "SIGKILL");
    await server.exited;
    await using again = await startNats({ dataDir });
    expect(again.pid).not.toBe(server.pid);
  });
});

describe("when the process that launched it", () => {
  test("is killed with SIGKILL, the server ends, and its folder can be taken over", async () => {
    const dataDir = await temporaryFolder();
    const { child, pid } = await launchNatsInChild(dataDir);
    expect(await isAlive(pid)).toBe(true);
    child.kill("SIGKILL");
    await untilGone(pid);
    await using server = await startNats({ dataDir });
    expect(server.pid).not.toBe(pid);
  });

  test.skipIf(onWindows)("is killed while the server hangs, the server is killed too", async () => {
    const { child, pid } = await launchNatsInChild(await temporaryFolder());
    process.kill(pid, "SIGSTOP");
    child.kill("SIGKILL");
    await untilGone(pid);
    expect(await isAlive(pid)).toBe(false);
  });

  test.skipIf(onWindows)("gets Ctrl-C, the server does not: it is of another process group", async () => {
    const { child, pid } = await launchNatsInChild(await temporaryFolder());
    const groups = await execa("ps", ["-o", "pgid=", "-p", `${child.pid},${pid}`]);
    const [ours, its] = groups.stdout.trim().split(/\s+/);
    expect(its).toBe(String(pid));
    expect(ours).not.toBe(its);
  });
});

describe("a launch is refused", () => {
  test("while another server runs on the folder, even one of another process", async () => {
    const dataDir = await temporaryFolder();
    const { pid } = await launchNatsInChild(dataDir);
    await expect(startNats({ dataDir })).rejects.toMatchObject({
      code: "already_running",
      message: expect.stringContaining(`process ${pid}`),
    });
    expect(await isAlive(pid)).toBe(true);
  });

  test("of all but one that start on a folder at once, whatever a dead one left there", async () => {
    const dataDir = await temporaryFolder();
    const lock = { id: "of the dead", holders: [{ pid: process.pid, identity: "an earlier one" }] };
    await writeFile(join(dataDir, "nats-server.lock"), JSON.stringify(lock));
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => startNats({ dataDir })));
    const started = outcomes.filter((outcome) => outcome.status === "fulfilled");
    for (const { value } of started) await value[Symbol.asyncDispose]();
    expect(started).toHaveLength(1);
  });

  test("on a busy port, in words and with a code", async () => {
    const listener = createServer().listen(0, "127.0.0.1");
    await once(listener, "listening");
    onTestFinished(() => void listener.close());
    const { port } = z.object({ port: z.number() }).parse(listener.address());
    await expect(startNats({ port })).rejects.toMatchObject({
      code: "port_busy",
      message: expect.stringContaining(`Port ${port}`),
    });
  });

  test("with the end of the log when the server dies at once", async () => {
    const dataDir = await temporaryFolder();
    await writeFile(join(dataDir, "jetstream"), "a file where its store should be");
    await expect(startNats({ dataDir })).rejects.toMatchObject({
      code: "died",
      message: expect.stringContaining("not a directory"),
    });
    expect(await readFile(join(dataDir, "nats-server.log"), "utf8")).not.toBe("");
  });

  test("when there is no such program, when the host is not loopback, or when it is called off", async () => {
    const program = join(await temporaryFolder(), "missing");
    await expect(startNats({ program })).rejects.toMatchObject({ code: "died" });
    await expect(startNats({ host: "0.0.0.0" })).rejects.toMatchObject({ code: "bad_option" });
    const calledOff = new Error("called off");
    const options = { program, dataDir: await temporaryFolder(), port: 0, syncInterval: "2m" } as const;
    const launch = launchNatsServer({ ...options, signal: AbortSignal.abort(calledOff) });
    await expect(launch).rejects.toBe(calledOff);
  });
});
