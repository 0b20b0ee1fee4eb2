// Doors of an instance: what goes through them to the host and back, under which lease, how much of it waits anywhere,
// and that an instance with a network of its own has no other way out. Real supervisors, real processes.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { STREAMS_MAX } from "../../services/host-agent/guest/doors.ts";
import type { Door } from "../../services/host-agent/guest/protocol.ts";
import {
  DEADLINE,
  hasBubblewrap,
  MODES,
  startSupervisor,
  type TestSupervisor,
} from "../support/supervisor.ts";

const DOOR: Door = { name: "there", pathVariable: "THERE" };
const PORT = 3_128;
const WITH_PORT: Door = { name: "there", port: PORT };

/** A script that speaks through the door: `socket` is connected, by its path or at its port. */
const speaking = (words: string, at = "process.env.THERE") =>
  `node -e 'const socket = require("net").connect(${at}); socket.on("error", (e) => { console.log(e.code); process.exitCode = 1; }); ${words}'`;
const ECHOED = `socket.end("hello"); socket.on("data", (d) => process.stdout.write(d)); process.exitCode = 5;`;

const echo = (stream: Duplex) => {
  stream.on("data", (bytes: Buffer) => stream.write(bytes.toString().toUpperCase()));
  stream.on("end", () => stream.end("!"));
};

/** Streams as they come, by the name of their attempt. */
function streamsOf({ link }: TestSupervisor): Duplex[] {
  const streams: Duplex[] = [];
  link.onStream((_attempt, _door, stream) => streams.push(stream));
  return streams;
}

const openStreams = async (streams: Duplex[], count = 1): Promise<Duplex[]> => {
  await vi.waitUntil(() => streams.length >= count, DEADLINE);
  return streams;
};

const residentBytes = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1_024;

describe.each(MODES)("a supervisor $mode", ({ through }) => {
  it("leads a connection at a door to the host and back, and the command is what it would be without", async () => {
    await using supervisor = await startSupervisor({ through });
    const asked: [string, string][] = [];
    supervisor.link.onStream((attempt, door, stream) => {
      asked.push([attempt, door]);
      echo(stream);
    });
    const command = supervisor.exec(speaking(ECHOED), { stretch: await supervisor.lease(), doors: [DOOR] });
    expect(await command.finished).toMatchObject({ exitCode: 5, cause: "exited" });
    expect(command.stdout()).toBe("HELLO!");
    expect(asked).toEqual([["a", "there"]]);
    await supervisor.link.kill("a");
    expect(readdirSync(path.join(supervisor.folder, "state", "doors"))).toEqual([]);
  });

  it("runs nothing with the machine's network that is to have its own, or gives it one", async () => {
    await using supervisor = await startSupervisor({ through });
    const server = createServer((_request, response) => response.end("of the machine")).listen(
      0,
      "127.0.0.1",
    );
    await once(server, "listening");
    try {
      const { port } = server.address() as AddressInfo;
      const command = supervisor.exec(
        speaking(`socket.on("connect", () => console.log("reached"))`, String(port)),
        { stretch: await supervisor.lease(), network: "own" },
      );
      const exit = await command.finished;
      expect(command.stdout()).not.toContain("reached");
      if (supervisor.link.hello.ownNetwork) expect(command.stdout()).toBe("ECONNREFUSED\n");
      else
        expect(exit).toMatchObject({
          cause: "spawn-failed",
          message: expect.stringMatching(/no network of its own/),
        });
    } finally {
      server.close();
    }
  });
});

describe("a door", () => {
  it("is shut while the attempt stands still without a lease, and nothing sent through it is lost", async () => {
    await using supervisor = await startSupervisor();
    const streams = streamsOf(supervisor);
    const words = `socket.write("before"); process.stdin.on("data", (d) => socket.write(d)); socket.on("data", (d) => process.stdout.write(d));`;
    const command = supervisor.exec(speaking(words), {
      stretch: await supervisor.lease(),
      doors: [DOOR],
      stdin: "pipe",
    });
    const [stream] = (await openStreams(streams)) as [Duplex];
    let heard = "";
    stream.on("data", (bytes: Buffer) => {
      heard += bytes.toString();
    });
    await vi.waitUntil(() => heard === "before", DEADLINE);
    supervisor.link.freeze();
    await vi.waitUntil(() => supervisor.frozen.length > 0, DEADLINE);
    command.write(" and after");
    stream.write("an answer");
    await supervisor.looks(4);
    expect(heard).toBe("before");
    expect(command.stdout()).toBe("");
    const stretch = await supervisor.lease(await supervisor.stamp());
    expect(await supervisor.link.thaw("a", stretch)).toBe("thawed");
    await vi.waitUntil(() => heard === "before and after" && command.stdout() === "an answer", DEADLINE);
  });

  it("keeps memory bounded at both ends when 200 MB meet a slow reader, and loses no byte", async () => {
    await using supervisor = await startSupervisor();
    const streams = streamsOf(supervisor);
    const total = 200 * 1_000_000;
    const words = `const b = Buffer.alloc(1e6, "0123456789"); let n = 0;
      const next = () => { while (n < 200) { n++; if (!socket.write(b)) return socket.once("drain", next); } socket.end(); }; next();
      socket.resume(); socket.on("close", () => process.exit(0));`;
    const before = residentBytes(supervisor.pid);
    const command = supervisor.exec(speaking(words), { stretch: await supervisor.lease(), doors: [DOOR] });
    const [stream] = (await openStreams(streams)) as [Duplex];
    let most = 0;
    const watched = setInterval(() => {
      most = Math.max(most, residentBytes(supervisor.pid));
    }, 20);
    await supervisor.looks(10);
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (bytes % 50_000_000 < chunk.length) await delay(50);
      bytes += chunk.length;
      hash.update(chunk);
      expect(stream.readableLength).toBeLessThan(1_000_000);
    }
    clearInterval(watched);
    expect(bytes).toBe(total);
    expect(hash.digest("hex")).toBe(
      createHash("sha256").update(Buffer.alloc(total, "0123456789")).digest("hex"),
    );
    stream.end();
    expect(await command.finished).toMatchObject({ exitCode: 0 });
    expect(most - before).toBeLessThan(100_000_000);
  });

  it("keeps nothing else from the host, ticks first, while everything goes through that can", async () => {
    await using supervisor = await startSupervisor();
    let bytes = 0;
    supervisor.link.onStream((_attempt, _door, stream) => {
      stream.on("data", (piece: Buffer) => {
        bytes += piece.length;
      });
    });
    const much = `const piece = Buffer.alloc(1_048_576); for (let n = 0; n < ${STREAMS_MAX}; n++) { const socket = require("net").connect(process.env.THERE); const go = () => { while (socket.write(piece)); }; socket.on("drain", go); go(); }`;
    supervisor.exec(`node -e '${much}'`, { stretch: await supervisor.lease(), doors: [DOOR] });
    await vi.waitUntil(() => bytes > 50_000_000, DEADLINE);
    const before = bytes;
    await supervisor.looks(20);
    expect(bytes).toBeGreaterThan(before);
  });

  it("delays nobody else when its reader stands still, the other way too", async () => {
    await using supervisor = await startSupervisor();
    const streams = streamsOf(supervisor);
    const stretch = await supervisor.lease();
    const standing = supervisor.exec(speaking(`socket.pause(); setInterval(() => {}, 1000);`), {
      stretch,
      doors: [DOOR],
    });
    const [stuck] = (await openStreams(streams)) as [Duplex];
    let accepted = 0;
    while (stuck.write(Buffer.alloc(65_536)) || accepted < 100) accepted++;
    supervisor.link.onStream((_attempt, _door, stream) => echo(stream));
    const neighbour = supervisor.exec(speaking(ECHOED), { stretch, doors: [DOOR], attempt: "b" });
    expect(await neighbour.finished).toMatchObject({ exitCode: 5 });
    await supervisor.link.kill("a");
    await vi.waitUntil(() => stuck.destroyed, DEADLINE);
    expect(await standing.finished).toMatchObject({ cause: "killed" });
  });

  it("breaks off when either end does, and when the supervisor is killed", async () => {
    await using supervisor = await startSupervisor();
    const streams = streamsOf(supervisor);
    const stretch = await supervisor.lease();
    const words = `socket.write("x"); socket.resume().on("close", () => console.log("closed")); setInterval(() => {}, 1000);`;
    const command = supervisor.exec(speaking(words), { stretch, doors: [DOOR] });
    const [first] = (await openStreams(streams)) as [Duplex];
    first.destroy();
    await vi.waitUntil(() => command.stdout().includes("closed"), DEADLINE);
    const gone = supervisor.exec(speaking(`socket.write("x", () => process.exit(0));`), {
      stretch,
      doors: [DOOR],
    });
    await gone.finished;
    const [, second] = (await openStreams(streams, 2)) as [Duplex, Duplex];
    second.resume();
    await once(second, "end");
    supervisor.exec(speaking(words), { stretch, doors: [DOOR] });
    const [, , third] = (await openStreams(streams, 3)) as [Duplex, Duplex, Duplex];
    process.kill(supervisor.pid, "SIGKILL");
    await vi.waitUntil(() => third.destroyed, DEADLINE);
    expect(streams).toHaveLength(3);
  });

  it("takes no more connections at once than an attempt may have", async () => {
    await using supervisor = await startSupervisor();
    const streams = streamsOf(supervisor);
    const words = `const net = require("net"); let closed = 0;
      for (let n = 0; n < ${STREAMS_MAX + 4}; n++) net.connect(process.env.THERE).on("close", () => console.log("closed")).resume();
      setInterval(() => {}, 1000);`;
    const command = supervisor.exec(speaking(words), { stretch: await supervisor.lease(), doors: [DOOR] });
    await vi.waitUntil(() => command.stdout().match(/closed/g)?.length === 5, DEADLINE);
    expect(streams).toHaveLength(STREAMS_MAX);
  });

  it("is there where its path is longer than a socket's may be", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), `mesh-${"long".repeat(30)}-`));
    try {
      await using supervisor = await startSupervisor({ folder });
      supervisor.link.onStream((_attempt, _door, stream) => echo(stream));
      if (supervisor.link.hello.isolation === "process-group") return;
      const command = supervisor.exec(speaking(ECHOED), { stretch: await supervisor.lease(), doors: [DOOR] });
      expect(await command.finished).toMatchObject({ exitCode: 5 });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

const SANDBOXES = MODES.filter(({ isolation, through }) => isolation === "sandbox" || through.length === 0);

describe.skipIf(!hasBubblewrap).each(SANDBOXES)(
  "a network of its own $mode (needs bubblewrap)",
  ({ through }) => {
    it("has a door at its port, and the command keeps its stdin, its descriptors, its exit and its signals", async () => {
      await using supervisor = await startSupervisor({ through });
      expect(supervisor.link.hello.ownNetwork).toBe(true);
      supervisor.link.onStream((_attempt, _door, stream) => echo(stream));
      const stretch = await supervisor.lease();
      const own = { stretch, network: "own" as const, doors: [WITH_PORT] };
      const script = `cat; env | grep NODE_CH; ls -l /proc/self/fd | grep -c socket: ; unset NODE_OPTIONS; ${speaking(ECHOED, String(PORT))}`;
      const env = { NODE_OPTIONS: "--require=/nowhere/of-the-task.js" };
      const command = supervisor.exec(script, { ...own, env, stdin: "pipe" });
      command.write("in\n");
      command.endStdin();
      expect(await command.finished).toMatchObject({ exitCode: 5, cause: "exited" });
      expect(command.stdout()).toBe("in\n2\nHELLO!");
      const signalled = supervisor.exec("trap 'exit 9' TERM; echo begun; while :; do sleep 0.01; done", own);
      await vi.waitUntil(() => signalled.stdout() === "begun\n", DEADLINE);
      signalled.signal("SIGTERM");
      expect(await signalled.finished).toMatchObject({ exitCode: 9 });
    });

    it("reaches no other address, by no protocol, and no abstract socket of the machine", async () => {
      await using supervisor = await startSupervisor({ through });
      const abstract = `mesh-test-${process.pid}`;
      const listener = createServer((_request, response) => response.end());
      listener.listen(`\0${abstract}`);
      await once(listener, "listening");
      try {
        const tries = `const { connect } = require("net"); const dns = require("dns").promises; const dgram = require("dgram");
        const tried = (at) => new Promise((done) => { const s = connect(at); s.on("connect", () => done("reached")); s.on("error", (e) => done(e.code)); });
        (async () => {
          console.log(await tried({ host: "192.0.2.1", port: 80 }), await tried({ host: "::1", port: 80 }), await tried({ path: "\\0${abstract}" }));
          console.log(await new dns.Resolver({ timeout: 500, tries: 1 }).resolve4("example.com").catch((e) => e.code));
          const u = dgram.createSocket("udp4"); u.send("x", 53, "192.0.2.53", (e) => { console.log(e?.code); u.close(); });
        })();`;
        const command = supervisor.exec(
          `cat > tries.js; node tries.js; ip route 2>/dev/null; cat /proc/net/route | wc -l`,
          {
            stretch: await supervisor.lease(),
            network: "own",
            stdin: "pipe",
          },
        );
        command.write(tries);
        command.endStdin();
        await command.finished;
        expect(command.stdout()).toMatch(
          /^ENETUNREACH \w+ ECONNREFUSED\n(ECONNREFUSED|ETIMEOUT|EAI_AGAIN)\nENETUNREACH\n/,
        );
        expect(command.stdout()).not.toContain("reached");
      } finally {
        listener.close();
      }
    });

    it("leaves no socket and no folder of a former life, and opens no port of the machine", async () => {
      await using supervisor = await startSupervisor({ through });
      const listening = () =>
        readFileSync("/proc/net/tcp", "utf8").includes(
          `:${PORT.toString(16).toUpperCase().padStart(4, "0")} 00000000:0000 0A`,
        );
      const command = supervisor.exec("echo begun; sleep 600", {
        stretch: await supervisor.lease(),
        network: "own",
        doors: [WITH_PORT],
      });
      await vi.waitUntil(() => command.stdout() === "begun\n", DEADLINE);
      expect(listening()).toBe(false);
      await supervisor.link.kill("a");
      expect(existsSync(path.join(supervisor.folder, "state", "doors", "1"))).toBe(false);
    });
  },
);
