// `mesh stop`: has a host, or a service, finish and end by itself, wherever it runs.
import { Command } from "commander";
import type { ApiInput } from "../../../shared/contracts/api.ts";
import { UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";

interface Options extends CommonOptions {
  service?: string;
  instance?: string;
  deadline?: string;
}

export const stopCommand = (): Command =>
  withCommonFlags(
    new Command("stop")
      .description("have a host, or every process of a service, finish what it has in hand and end")
      .usage("HOST [--deadline 10m] | --service NAME [--instance ID]")
      .argument("[host]", "the host's id: it takes nothing new, and ends once nothing runs there")
      .option("--deadline <duration>", "how long what runs on the host may go on (default: 10m)")
      .option("--service <name>", "scheduler, status-tracker, gateway, or mesh-up: the whole of `mesh up`")
      .option("--instance <id>", "one process of the service, as this verb and the service's log name it"),
  ).action(async (hostId: string | undefined, options: Options) => {
    const request = await requestOf(hostId, options);
    await withMesh(options, async (mesh) => {
      const { jsonLine } = await import("../terminal/plain-text.ts");
      const { stopping } = valueOf(await mesh.stop(request));
      if (options.json) process.stdout.write(jsonLine({ stopping }));
      else
        for (const { service, instance } of stopping)
          tell(
            options,
            service === "host-agent"
              ? `${instance}: stops once nothing runs there`
              : `${service} ${instance}: stops`,
          );
    });
  });

async function requestOf(hostId: string | undefined, options: Options): Promise<ApiInput<"stop">> {
  const { parseDuration } = await import("../../../shared/config/quantities.ts");
  const { ServiceName } = await import("../../../shared/contracts/service.ts");
  const { service, instance, deadline } = options;
  if ((hostId === undefined) === (service === undefined))
    throw new UsageError("expected one of a host's id and --service");
  if (hostId !== undefined) {
    if (instance !== undefined) throw new UsageError("--instance: goes with --service");
    const deadlineMs = parseDuration(deadline ?? "10m");
    if (deadlineMs === null) throw new UsageError("--deadline: expected a duration such as 90s or 10m");
    return { service: "host-agent", instance: hostId, deadlineMs };
  }
  if (deadline !== undefined) throw new UsageError("--deadline: goes with a host");
  const named = ServiceName.exclude(["host-agent"]).safeParse(service);
  if (!named.success)
    throw new UsageError("--service: expected scheduler, status-tracker, gateway or mesh-up");
  return { service: named.data, instance };
}
