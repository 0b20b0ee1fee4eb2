// What the verbs that talk to a mesh share: their common flags, and the connection they do it on. It must never write
// on standard output.
import type { Command } from "commander";
import type { MeshClient } from "../../shared/client/mesh-client.ts";
import { interruption } from "./interruption.ts";
import { refused } from "./outcome.ts";

export interface CommonOptions {
  url?: string;
  json?: boolean;
  quiet?: boolean;
}

export const withCommonFlags = (command: Command): Command =>
  command
    .option("--url <url>", "where the mesh is: http(s)://… of its gateway, or nats://… or tls://… of its bus")
    .option("--json", "print JSON: one line, or one per event")
    .option("--quiet", "no messages on stderr but errors");

/** Connects, does the work, and closes; an interruption ends it at once, whatever it waits for. */
export async function withMesh(
  options: CommonOptions,
  work: (mesh: MeshClient, interruption: AbortSignal) => Promise<void>,
): Promise<void> {
  const { connectMesh } = await import("../../shared/client/connect-mesh.ts");
  const connected = await untilInterrupted(connectMesh({ url: options.url, name: "mesh-cli" }));
  if (!connected.ok) throw refused(connected.error);
  await using mesh = connected.value;
  await untilInterrupted(work(mesh, interruption));
}

function untilInterrupted<Value>(work: Promise<Value>): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>();
  const interrupted = () => reject(interruption.reason);
  if (interruption.aborted) interrupted();
  // Work that waits for the same signal may have a last word.
  interruption.addEventListener("abort", () => setTimeout(interrupted, 500).unref());
  promise.catch(() => {});
  return Promise.race([work, promise]);
}

/** For a person; never with `--quiet`. */
export function tell(options: CommonOptions, text: string): void {
  if (!options.quiet) process.stderr.write(`${text}\n`);
}
