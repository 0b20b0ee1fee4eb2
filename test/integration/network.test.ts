// What attempts reach of the network that are kept from it, and what they are told and their log is: real attempts in
// real sandboxes, real servers on this machine.
import { once } from "node:events";
import { createServer as createHttpServer, type Server } from "node:http";
import { type AddressInfo, connect, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { givingOnly } from "../../services/host-agent/network/address.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { type AllowedHost, parseAllowedHost } from "../../shared/contracts/network.ts";
import { type AttemptHost, startAttemptHost } from "../support/attempt.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { hasBubblewrap, isRoot, WITHOUT_BUBBLEWRAP } from "../support/supervisor.ts";

/** Asks the proxy for a place, by CONNECT or a plain request, and prints what it answers and what lies behind. */
const VIA = `
const [how, place] = process.argv.slice(2);
const proxy = new URL(process.env.HTTPS_PROXY ?? "http://127.0.0.1:3128");
const socket = require("net").connect(proxy.port, proxy.hostname);
socket.on("error", (error) => console.log(error.code));
const get = "GET / HTTP/1.1\\r\\nHost: there\\r\\nConnection: close\\r\\n\\r\\n";
if (how === "connect") socket.write("CONNECT " + place + " HTTP/1.1\\r\\n\\r\\n");
else socket.write(get.replace(" / ", " http://" + place + "/ "));
let said = "";
socket.on("data", (bytes) => {
  const first = said === "";
  said += bytes;
  if (how === "connect" && first && said.includes(" 200 ")) socket.write(get);
});
socket.on("close", () => said && console.log(said.split("\\r\\n")[0], said.split("\\r\\n\\r\\n").at(-1).trim()));
`;

const allowed = (text: string): AllowedHost => parseAllowedHost(text) ?? expect.fail(text);
const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;

describe.skipIf(!hasBubblewrap)("an attempt that is kept to an allowlist (needs bubblewrap)", () => {
  let there: Server;
  let other: Server;
  let host: AttemptHost;
  let repository: Repository;
  beforeAll(async () => {
    there = createHttpServer((_request, response) => response.end("it is there")).listen(0, "127.0.0.1");
    other = createHttpServer((_request, response) => response.end("not for you")).listen(0, "127.0.0.1");
    await Promise.all([once(there, "listening"), once(other, "listening")]);
    // The address itself, and a name that leads to one that is allowed, or to one that is not.
    const names = [`127.0.0.1:${portOf(there)}`, `localhost:${portOf(there)}`, `localhost:${portOf(other)}`];
    host = await startAttemptHost({ network: { widest: "open", allowed: names.map(allowed) } });
    repository = makeRepository({ files: { "via.js": VIA } });
  });
  afterAll(async () => {
    there.close();
    other.close();
    await host[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
  });

  const strange = async (command: string, overrides: Partial<DeployRequest> = {}) => {
    const ended = await host.run(repository, { fork: true, run: { command }, ...overrides });
    const chunks = await host.chunks(ended.taskId);
    const phases = chunks.flatMap(({ source, text }) => (source === "phase" ? [text] : []));
    const printed = chunks.flatMap(({ source, text }) => (source === "stdout" ? [text] : [])).join("");
    return { ...ended, phases, printed };
  };

  it("reaches what its host's owner allows, by CONNECT and by plain requests, its checks too", async () => {
    const at = `localhost:${portOf(there)}`;
    const { failure, printed, phases } = await strange(
      `node via.js connect ${at}; node via.js plain ${at}; node via.js connect 127.0.0.1:${portOf(there)}`,
      { checks: [`node via.js plain ${at} | grep there`] },
    );
    expect(failure).toBeNull();
    expect(printed).toBe(
      "HTTP/1.1 200 Connection established it is there\nHTTP/1.1 200 OK it is there\nHTTP/1.1 200 Connection established it is there\n",
    );
    expect(phases.join("\n")).toContain(
      `network: what is allowed alone, which is 127.0.0.1:${portOf(there)}`,
    );
  });

  it("is refused everything else in words, which its log tells with what would allow it", async () => {
    const at = `localhost:${portOf(other)}`;
    const { printed, phases } = await strange(
      `node via.js connect example.com:443; node via.js plain example.com; node via.js connect ${at}; node via.js plain 169.254.169.254; node via.js other /`,
    );
    const lines = printed.trim().split("\n");
    expect(lines).toHaveLength(5);
    for (const line of lines) expect(line).toMatch(/^HTTP\/1.1 403 Forbidden agent-mesh: /);
    const told = phases.filter((text) => text.includes("was refused"));
    expect(told).toEqual([
      expect.stringMatching(/example.com:443 was refused: it is not allowed .*MESH_HOST_ALLOWED_HOSTS/),
      expect.stringContaining("example.com:80 was refused"),
      expect.stringMatching(new RegExp(`${at} was refused: it is 127.0.0.1.* no address of the internet`)),
      expect.stringContaining("169.254.169.254:80 was refused"),
    ]);
  });

  it("finds the way out where programs look for it, and nothing without it", async () => {
    const { printed } = await strange(
      `echo $HTTPS_PROXY $http_proxy; HTTPS_PROXY=http://127.0.0.1:${portOf(there)} node via.js plain x`,
    );
    expect(printed).toBe("http://127.0.0.1:3128 http://127.0.0.1:3128\nECONNREFUSED\n");
  });

  it("may have less by the base branch's word, and never more", async () => {
    const at = `localhost:${portOf(there)}`;
    const withBase = (text: string) => makeRepository({ files: { "via.js": VIA, ".agent-mesh.toml": text } });
    using none = withBase('[network]\nmode = "none"\n');
    const closed = await host.run(none, { fork: true, run: { command: `node via.js connect ${at}` } });
    expect(Buffer.concat(await host.artifact(closed.taskId, "log")).toString()).toBe("ECONNREFUSED\n");
    using more = withBase('[network]\nmode = "allowlist"\nallow = ["example.com"]\n');
    const kept = await host.run(more, {
      fork: true,
      run: { command: `node via.js connect example.com:443` },
    });
    expect(Buffer.concat(await host.artifact(kept.taskId, "log")).toString()).toContain("403 Forbidden");
    using ours = withBase(`[network]\nmode = "allowlist"\nallow = ["${at}"]\n`);
    const own = await host.run(ours, {
      run: { command: `node via.js connect ${at}; node via.js connect example.com:443` },
    });
    const log = Buffer.concat(await host.artifact(own.taskId, "log")).toString();
    expect(log).toMatch(/it is there\n.*403 Forbidden.*\[network\] allow/);
    using wrong = withBase('[network]\nallow = ["10.0.0.1"]\n');
    const refused = await host.run(wrong, { run: { command: "true" } });
    expect(refused.failure).toMatchObject({
      category: "setup",
      message: expect.stringContaining("network.allow"),
    });
  });

  it("does not meet its neighbour's way out, which reaches nothing for it once that one has ended", async () => {
    const at = `localhost:${portOf(there)}`;
    const [first, second] = await Promise.all([
      strange(`node via.js connect ${at}; node via.js connect one.example:443`),
      strange(`node via.js connect ${at}; node via.js connect two.example:443`),
    ]);
    expect(first.phases.join()).toContain("one.example");
    expect(first.phases.join()).not.toContain("two.example");
    expect(second.phases.join()).toContain("two.example");
    await host.seeNothingLeft();
  });

  it("is cut off from a server that goes on for ever when it ends", async () => {
    const endless = createServer((socket) => {
      const timer = setInterval(() => socket.write("x".repeat(1_000)), 5);
      socket.on("error", () => {});
      socket.on("close", () => clearInterval(timer));
    });
    endless.listen(0, "127.0.0.1");
    await once(endless, "listening");
    const port = portOf(endless);
    await using generous = await startAttemptHost({
      network: { widest: "allowlist", allowed: [allowed(`127.0.0.1:${port}`)] },
    });
    const { failure } = await generous.run(repository, {
      run: { command: `node via.js connect 127.0.0.1:${port} & sleep 1; exit 0` },
    });
    expect(failure).toBeNull();
    const closed = new Promise<void>((done) => endless.close(() => done()));
    await closed;
  });
});

it.skipIf(!isRoot)(
  "an attempt that is to be kept from the network is not begun where it cannot be",
  async () => {
    await using host = await startAttemptHost({ through: WITHOUT_BUBBLEWRAP });
    using repository = makeRepository();
    const { failure } = await host.run(repository, { fork: true, run: { command: "true" } });
    expect(failure).toMatchObject({
      category: "setup",
      message: expect.stringMatching(/no network of their own|own network/),
    });
  },
);

it("a name with several addresses is reached at one that answers, and at none but those", async () => {
  const there = createServer((socket) => socket.end("it is there")).listen(0, "127.0.0.1");
  await once(there, "listening");
  try {
    const lookup = givingOnly(["127.0.0.2", "::1", "127.0.0.1"]);
    const [said] = (await once(connect({ host: "there.invalid", port: portOf(there), lookup }), "data")) as [
      Buffer,
    ];
    expect(said.toString()).toBe("it is there");
    const elsewhere = connect({
      ...{ host: "127.0.0.1.nowhere.invalid", port: portOf(there), lookup: givingOnly(["127.0.0.2"]) },
    });
    await expect(once(elsewhere, "connect")).rejects.toThrow("ECONNREFUSED");
  } finally {
    there.close();
  }
});
