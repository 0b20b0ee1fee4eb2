// `mesh hosts [HOST]`: the machines of the mesh and how they are, as a table, or one of them in full.
import { Command } from "commander";
import type { ApiReply, BreakerView, HostView } from "../../../shared/contracts/api.ts";
import type { StandingPause } from "../../../shared/contracts/pause.ts";
import { Failure, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";

type HostsReply = ApiReply<"hosts">;

export const hostsCommand = (): Command =>
  withCommonFlags(
    new Command("hosts")
      .description("list hosts with their live load, or tell all of one")
      .argument("[host]", "the host's id"),
  ).action((hostId: string | undefined, options: CommonOptions) =>
    withMesh(options, async (mesh) => {
      const { jsonLine, plainLine } = await import("../terminal/plain-text.ts");
      const hosts = valueOf(await mesh.hosts());
      if (hostId !== undefined) return tellOne(hostId, hosts, options);
      if (options.json) return void process.stdout.write(jsonLine(hosts));
      for (const words of hosts.notices) tell(options, plainLine(words));
      if (hosts.data.length === 0) tell(options, "No host has been heard of.");
      else process.stdout.write(await tableOf(hosts.data));
      process.stdout.write(
        (await withheldOf(hosts.data)) + (await breakersOf(hosts)) + (await pausesOf(hosts.pauses)),
      );
    }),
  );

async function tellOne(hostId: string, { data }: HostsReply, options: CommonOptions): Promise<void> {
  const host = data.find((one) => one.hostId === hostId);
  if (host === undefined) throw new Failure(`no host ${hostId} has been heard of`);
  const { hostText } = await import("./host-text.ts");
  const { jsonLine } = await import("../terminal/plain-text.ts");
  process.stdout.write(options.json ? jsonLine(host) : hostText(host, Date.now()));
}

/** A line for each host that begins no work now by its own word. */
async function withheldOf(hosts: HostView[]): Promise<string> {
  const { plainLine } = await import("../terminal/plain-text.ts");
  return hosts
    .flatMap(({ hostId, online, withheld }) =>
      online && withheld !== null ? [`${plainLine(`${hostId} begins no work: ${withheld.why}`)}\n`] : [],
    )
    .join("");
}

/** Drained: nothing runs there any more. */
const wordOf = ({ stopping, wish, attempts }: HostView): string =>
  stopping
    ? "stopping"
    : wish?.kind === "cordoned"
      ? "cordoned"
      : attempts.length > 0
        ? "draining"
        : "drained";

async function tableOf(hosts: HostView[]): Promise<string> {
  const { styled, table } = await import("../terminal/table.ts");
  const { plainLine } = await import("../terminal/plain-text.ts");
  const { formatDuration, formatSize } = await import("../terminal/quantities.ts");
  const stateOf = (host: HostView) =>
    host.online
      ? host.draining || host.wish !== null
        ? styled("yellow", wordOf(host))
        : host.withheld !== null
          ? styled("yellow", "withheld")
          : host.breaker !== null
            ? styled("yellow", `breaker ${host.breaker.state}`)
            : styled("green", "online")
      : styled("red", "offline");
  return table(
    ["HOST", "STATE", "SLOTS FREE", "CPU", "MEMORY FREE", "DISK FREE", "RUNNING", "SEEN", "LABELS"],
    hosts.map((host) => [
      host.hostId,
      stateOf(host),
      `${host.slots.free} of ${host.slots.total}`,
      `${Math.round(host.cpu.busy * 100)} % of ${host.cpu.cores}`,
      `${formatSize(host.memory.availableBytes)} of ${formatSize(host.memory.totalBytes)}`,
      formatSize(host.disk.freeBytes),
      String(host.attempts.length),
      `${formatDuration(Date.now() - Date.parse(host.lastSeenAt))} ago`,
      plainLine(
        Object.entries(host.labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(" "),
      ),
    ]),
  );
}

/** A line for each host whose breaker is not closed. */
async function breakersOf({ data, breakers }: HostsReply): Promise<string> {
  const { plainLine } = await import("../terminal/plain-text.ts");
  const line = (what: string, { state, since, why, nextProbeAt, probe }: BreakerView) => {
    const then = probe === null ? `probe after ${nextProbeAt}` : `task ${probe} is the probe`;
    return `${plainLine(what)}: breaker ${state} since ${since}, ${then}: ${plainLine(why)}\n`;
  };
  return [
    ...data.flatMap(({ hostId, breaker }) => (breaker === null ? [] : [line(hostId, breaker)])),
    ...breakers.map((breaker) => line(`repository ${breaker.repository}`, breaker)),
  ].join("");
}

/** A line for each thing that an operator holds up. */
async function pausesOf(pauses: StandingPause[]): Promise<string> {
  const { pauseInWords } = await import("../../../shared/contracts/pause.ts");
  const { plainLine } = await import("../terminal/plain-text.ts");
  return pauses.map((pause) => `${plainLine(pauseInWords(pause))}\n`).join("");
}
