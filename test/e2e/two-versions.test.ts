// Services of this version and of the next one on one bus: tasks flow, whichever of them the hosts are.
import path from "node:path";
import { pathToFileURL } from "node:url";
import { jetstreamManager } from "@nats-io/jetstream";
import { describe, expect, it, vi } from "vitest";
import { lastMessage } from "../../shared/bus/read.ts";
import { HOSTS, RECEIPTS, STREAMS_VERSION, TASKS } from "../../shared/bus/streams.ts";
import { factSubject } from "../../shared/contracts/fact.ts";
import { heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import { DEADLINE, type LoadedMesh, startLoadedMesh } from "../support/loaded-mesh.ts";

const NEXT = {
  NODE_OPTIONS: `--import=${pathToFileURL(path.resolve(import.meta.dirname, "../support/next-version.ts")).href}`,
};
const CONTROL = ["scheduler", "status-tracker", "gateway"];
const HOST_IDS = ["host-1", "host-2"];

/** The streams as the next version wants them. */
async function streams({ bus }: LoadedMesh) {
  const { config } = await (await jetstreamManager(bus.connection)).streams.info(RECEIPTS);
  return { version: Number(config.metadata?.["mesh-streams-version"]), maxMessages: config.max_msgs };
}
const AS_NEXT = { version: STREAMS_VERSION + 1, maxMessages: 99_999 };

/** What was said last there has a field that this version does not know. */
async function isOfNext({ bus }: LoadedMesh, stream: string, subject: string): Promise<boolean> {
  const last = await lastMessage(bus, stream, subject);
  return last !== null && Buffer.from(last.payload).includes("fromTheNextVersion");
}

describe("services of two versions at once", () => {
  it.each([
    ["newer services and older hosts", CONTROL, HOST_IDS],
    ["older services and newer hosts", HOST_IDS, CONTROL],
    ["one newer host beside an older one", ["host-1", "status-tracker"], ["host-2", "scheduler", "gateway"]],
  ])(
    "%s do every task once, and the older ones leave the streams as the newer made them",
    async (_, newer, older) => {
      await using mesh = await startLoadedMesh(Object.fromEntries(newer.map((name) => [name, NEXT])));
      const untilOnline = () =>
        vi.waitUntil(async () => {
          const hosts = await Promise.all(HOST_IDS.map((hostId) => mesh.host(hostId)));
          return hosts.every((host) => host?.online === true);
        }, DEADLINE);
      await untilOnline();
      // Hosts and gateways configure nothing, or not for long: then nobody newer has.
      const configures = newer.some((name) => CONTROL.includes(name));
      if (configures) expect(await streams(mesh)).toEqual(AS_NEXT);
      const load = mesh.load();
      await vi.waitUntil(() => load.acknowledged() >= 12, DEADLINE);
      for (const hostId of HOST_IDS) {
        const isNewer = newer.includes(hostId);
        expect(await isOfNext(mesh, HOSTS, heartbeatSubject.build({ hostId }))).toBe(isNewer);
        const started = factSubject.wildcard({ kind: "started", speaker: hostId });
        await vi.waitUntil(async () => (await lastMessage(mesh.bus, TASKS, started)) !== null, DEADLINE);
        expect(await isOfNext(mesh, TASKS, started)).toBe(isNewer);
      }
      // Begun again, the older ones look at the streams once more.
      const lives = older.map((name) => mesh.services[name]?.lives() ?? 0);
      for (const name of older.filter((one) => CONTROL.includes(one))) mesh.services[name]?.signal("SIGTERM");
      await vi.waitUntil(
        () =>
          older.every(
            (name, index) =>
              HOST_IDS.includes(name) || mesh.services[name]?.lives() === (lives[index] ?? 0) + 1,
          ),
        DEADLINE,
      );
      const before = load.acknowledged();
      await vi.waitUntil(() => load.acknowledged() >= before + 8, DEADLINE);
      if (configures) expect(await streams(mesh)).toEqual(AS_NEXT);
      const done = await load.stop();
      const wrong = done.filter(
        ({ task, acts }) => task.state !== "succeeded" || task.failures > 0 || acts.join() !== "begin,end",
      );
      expect(wrong).toEqual([]);
      expect(mesh.crashes).toEqual([]);
    },
  );
});
