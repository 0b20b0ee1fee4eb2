// `mesh cordon|uncordon|drain HOST`: what the mesh may still place on a machine.
import { Command } from "commander";
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import { UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";

interface Options extends CommonOptions {
  reason?: string;
  deadline?: string;
  wait?: boolean;
}

export const cordonCommand = (): Command =>
  withCommonFlags(
    onHost("cordon", "place nothing new on a host").option("--reason <text>", "why, for those who ask"),
  ).action((hostId: string, options: Options) =>
    say(options, (mesh) => mesh.cordon({ hostId, ...reasonOf(options) })),
  );

export const uncordonCommand = (): Command =>
  withCommonFlags(onHost("uncordon", "let a cordoned or drained host take work again")).action(
    (hostId: string, options: Options) => say(options, (mesh) => mesh.uncordon(hostId)),
  );

export const drainCommand = (): Command =>
  withCommonFlags(
    onHost("drain", "empty a host: nothing new is placed, and what still runs at the deadline runs elsewhere")
      .option("--deadline <duration>", "how long what runs there may go on", "10m")
      .option("--reason <text>", "why, for those who ask")
      .option("--wait", "until nothing runs there any more; the drain stands if that is interrupted"),
  ).action(async (hostId: string, options: Options) => {
    const { parseDuration } = await import("../../../shared/config/quantities.ts");
    const deadlineMs = parseDuration(options.deadline ?? "");
    if (deadlineMs === null) throw new UsageError("--deadline: expected a duration such as 90s or 10m");
    await say(options, (mesh) => mesh.drain({ hostId, deadlineMs, ...reasonOf(options) }));
    if (options.wait) await waitForDrain(hostId, deadlineMs, options);
  });

const waitForDrain = (hostId: string, deadlineMs: number, options: Options): Promise<void> =>
  withMesh(options, async (mesh, signal) => {
    const { createProgress } = await import("../terminal/progress.ts");
    const { GONE_MS, untilDrained } = await import("./drain-wait.ts");
    using progress = createProgress(options.quiet);
    try {
      await untilDrained(mesh, { hostId, timeoutMs: deadlineMs + GONE_MS, progress, signal });
      progress.say(`${hostId}: nothing runs there any more`);
    } catch (error) {
      if (!signal.aborted) throw error;
      progress.say(`the drain stands: \`mesh uncordon ${hostId}\` takes it back`);
      throw signal.reason;
    }
  });

const onHost = (verb: string, description: string): Command =>
  new Command(verb).description(description).argument("<host>", "the host's id");

const reasonOf = ({ reason }: Options) => (reason === undefined ? {} : { reason });

const say = (
  options: Options,
  wish: (mesh: MeshClient) => ReturnType<MeshClient["uncordon"]>,
): Promise<void> =>
  withMesh(options, async (mesh) => {
    const { jsonLine } = await import("../terminal/plain-text.ts");
    const said = valueOf(await wish(mesh));
    if (options.json) process.stdout.write(jsonLine(said));
    else tell(options, `${said.hostId}: ${said.wish?.kind ?? "takes work"}`);
  });
