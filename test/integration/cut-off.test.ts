// Hosts that are cut off from the bus, both ways and one way, and hosts whose wall clock is wrong: nothing acts twice,
// and nothing is called lost for what a clock says.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { lastMessage } from "../../shared/bus/read.ts";
import { LOGS } from "../../shared/bus/streams.ts";
import { LogChunk, logSubject } from "../../shared/contracts/log.ts";
import { say } from "../support/gateway.ts";
import { DEADLINE, type HostMesh, startHostMesh } from "../support/host.ts";
import { type Direction, openLink } from "../support/link.ts";
import { canHaveNetworks, openNetwork } from "../support/own-network.ts";

const LEASE_MS = 3_000;
const FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const hasFaketime = existsSync(FAKETIME);

let mesh: HostMesh;
beforeAll(async () => {
  mesh = await startHostMesh({ leaseMs: LEASE_MS });
});
afterAll(() => mesh[Symbol.asyncDispose]());

/** A task that runs on a host of its own and writes down that it acts. */
async function actsOn(hostId: string, busUrl: string, inside: string[] = []) {
  const witness = path.join(mesh.folder, `witness-${hostId}`);
  const acts = () => (existsSync(witness) ? readFileSync(witness, "utf8").length : 0);
  const host = await mesh.host(hostId, { NATS_URL: busUrl }, inside);
  const task = await mesh.submit(`while :; do printf . >> ${witness}; sleep 0.05; done`);
  await task.run(host.id);
  await vi.waitUntil(() => acts() > 0, DEADLINE);
  return { host, task, acts };
}

const urlOf = ({ port }: { port: number }): string => `nats://127.0.0.1:${port}`;

describe("a host that is cut off", () => {
  it.each<Direction>(["both", "toBus"])(
    "(%s) acts no more once its attempt is lost, and ends it on its return",
    async (direction) => {
      await using link = await openLink(mesh.nats.port);
      const { host, task, acts } = await actsOn(`cut-${direction.toLowerCase()}`, urlOf(link));
      link.cut(direction);
      expect(await task.said("requeued")).toMatchObject({ reason: "lost" });
      const atLoss = acts();
      // Frozen, not gone: nothing but the cut keeps it from acting.
      expect(host.attempts().length).toBeGreaterThan(0);
      link.mend();
      await vi.waitUntil(() => host.attempts().length === 0, DEADLINE);
      expect(acts()).toBe(atLoss);
      expect(await task.story()).toEqual(["requested", "started", "requeued"]);
    },
  );

  it("has what it finished meanwhile kept as evidence, which does not count once another attempt has begun", async () => {
    await using link = await openLink(mesh.nats.port);
    const host = await mesh.host("cut-finishes", { NATS_URL: urlOf(link) });
    const [begun, go] = [path.join(mesh.folder, "begun"), path.join(mesh.folder, "go")];
    const task = await mesh.submit(`touch ${begun}; until [ -e ${go} ]; do sleep 0.05; done`);
    await task.run(host.id);
    await vi.waitUntil(() => existsSync(begun), DEADLINE);
    link.cut("both");
    writeFileSync(go, "");
    expect(await task.said("requeued")).toMatchObject({ reason: "lost" });
    const elsewhere = { attempt: 2, nonce: "n", installation: "i", boot: 1, counter: 1 };
    await say(mesh.bus, task.taskId, "started", "elsewhere", elsewhere);
    link.mend();
    await vi.waitUntil(() => host.attempts().length === 0, DEADLINE);
    const ofFirst = logSubject.build({ taskId: task.taskId, attempt: "1", hostId: host.id });
    const last = await vi.waitUntil(async () => {
      const chunk = await lastMessage(mesh.bus, LOGS, ofFirst);
      const read = LogChunk.parse(JSON.parse(Buffer.from(chunk?.payload ?? "{}").toString()));
      return read.phase === "overtaken" && read;
    }, DEADLINE);
    expect(last.text).toMatch(/^it (succeeded|failed).* does not count$/);
    expect(await task.story()).toEqual(["requested", "started", "requeued", "started"]);
  });

  it("(fromBus) freezes though it is heard, is not called lost, and goes on once it hears again", async () => {
    await using link = await openLink(mesh.nats.port);
    const { host, task, acts } = await actsOn("cut-frombus", urlOf(link));
    link.cut("fromBus");
    await vi.waitUntil(async () => {
      const before = acts();
      return await vi
        .waitUntil(() => acts() > before, { timeout: 1_000, interval: 50 })
        .then(
          () => false,
          () => true,
        );
    }, DEADLINE);
    link.mend();
    await task.said("resumed");
    const resumed = acts();
    await vi.waitUntil(() => acts() > resumed, DEADLINE);
    await task.stop(host.id, 1);
    await task.said("faulted");
    expect(await task.kinds()).not.toContain("requeued");
  });
});

describe.skipIf(!canHaveNetworks)("a host with a network of its own that is cut off", () => {
  it.each<Direction>(["both", "toBus"])(
    "(%s) at its interface acts no more once its attempt is lost, and ends it on its return",
    async (direction) => {
      await using network = await openNetwork(mesh.nats.port);
      const { host, task, acts } = await actsOn(
        `alone-${direction.toLowerCase()}`,
        network.busUrl,
        network.inside,
      );
      network.cut(direction);
      expect(await task.said("requeued")).toMatchObject({ reason: "lost" });
      const atLoss = acts();
      expect(host.attempts().length).toBeGreaterThan(0);
      network.mend();
      await vi.waitUntil(() => host.attempts().length === 0, DEADLINE);
      expect(acts()).toBe(atLoss);
      expect(await task.story()).toEqual(["requested", "started", "requeued"]);
      host.process.kill("SIGTERM");
      await host.exitCode;
    },
  );
});

it("a network of a host's own was tested", ({ skip }) => {
  skip(!canHaveNetworks, "NOT TESTED: network namespaces take root on Linux, with `ip` and `nsenter`");
  expect(canHaveNetworks).toBe(true);
});

describe("a host whose wall clock is wrong", () => {
  it.runIf(hasFaketime).each([
    ["ahead", "+300s", 300_000],
    ["behind", "-300s", -300_000],
  ])(
    "by five minutes (%s) is online, keeps its lease, and finishes what it began",
    async (name, faked, skewMs) => {
      const host = await mesh.host(`clock-${name}`, {
        LD_PRELOAD: FAKETIME,
        FAKETIME: faked,
        FAKETIME_DONT_FAKE_MONOTONIC: "1",
      });
      const task = await mesh.submit(`sleep ${(LEASE_MS * 2) / 1_000}`);
      await task.run(host.id);
      await task.said("succeeded");
      expect(await task.story()).toEqual(["requested", "started", "succeeded"]);
      const said = await lastMessage(mesh.bus, LOGS, logSubject.wildcard({ taskId: task.taskId }));
      const { at } = LogChunk.parse(JSON.parse(Buffer.from(said?.payload ?? "").toString()));
      expect(Math.abs(Date.parse(at) - (said?.timeMs ?? 0) - skewMs)).toBeLessThan(30_000);
    },
  );

  it("was tested", ({ skip }) => {
    skip(!hasFaketime, "NOT TESTED: this machine has no libfaketime (apt install faketime)");
    expect(hasFaketime).toBe(true);
  });
});
