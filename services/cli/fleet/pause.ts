// `mesh pause|resume`: whether anything new may begin, in the whole fleet or for one repository.
import { Command } from "commander";
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import { valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";

interface Options extends CommonOptions {
  repository?: string;
  reason?: string;
}

export const pauseCommand = (): Command =>
  withCommonFlags(
    new Command("pause")
      .description("begin nothing new: queued tasks and retries wait, what runs goes on")
      .option("--repository <owner/name>", "only tasks of this repository (default: the whole fleet)")
      .option("--reason <text>", "why, for those who ask"),
  ).action(({ repository, reason, ...options }: Options) =>
    say(options, (mesh) => mesh.pause({ repository, reason })),
  );

export const resumeCommand = (): Command =>
  withCommonFlags(
    new Command("resume")
      .description("let begin what `mesh pause` has held up")
      .option("--repository <owner/name>", "the repository that was paused (default: the whole fleet)"),
  ).action(({ repository, ...options }: Options) => say(options, (mesh) => mesh.resume({ repository })));

const say = (options: CommonOptions, wish: (mesh: MeshClient) => ReturnType<MeshClient["pause"]>) =>
  withMesh(options, async (mesh) => {
    const { jsonLine } = await import("../terminal/plain-text.ts");
    const said = valueOf(await wish(mesh));
    if (options.json) process.stdout.write(jsonLine(said));
    else tell(options, `${said.repository ?? "the whole fleet"}: ${said.pause === null ? "runs" : "paused"}`);
  });
