// `mesh attach ID`: follows a task to its end, and tells its agent what is typed meanwhile. Whoever leaves changes
// nothing: the task goes on.
import { createInterface, type Interface } from "node:readline";
import { Command } from "commander";
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import type { TaskLog } from "../../../shared/client/task-log.ts";
import { Interrupted } from "../interruption.ts";
import { Failure, refused, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";
import { printTask } from "./deploy.ts";

export const attachCommand = (): Command =>
  withCommonFlags(
    new Command("attach")
      .description("follow a task to its end, and speak to its agent: type a line, or /help")
      .argument("<id>", "the task's id"),
  ).action((taskId: string, options: CommonOptions) =>
    withMesh(options, async (mesh, interruption) => {
      const { MeshError } = await import("../../../shared/client/mesh-client.ts");
      try {
        await attach(mesh, taskId, options, interruption);
      } catch (error) {
        if (error instanceof Interrupted) process.stderr.write(`\n${leftWords(taskId)}\n`);
        throw error instanceof MeshError ? refused(error) : error;
      }
    }),
  );

const leftWords = (taskId: string) =>
  `Detached; task ${taskId} goes on. End it with \`mesh cancel ${taskId}\`.`;

async function attach(
  mesh: MeshClient,
  taskId: string,
  options: CommonOptions,
  interruption: AbortSignal,
): Promise<void> {
  const { logPrinter } = await import("./log-printer.ts");
  const printer = logPrinter(options);
  const detached = new AbortController();
  const asking: string[] = [];
  const typed = await listen(mesh, taskId, options, asking, () => detached.abort());
  const signal = AbortSignal.any([interruption, detached.signal]);
  try {
    for await (const log of mesh.logs(taskId, { follow: true, signal })) {
      noteApproval(log, asking);
      printer.print(log);
    }
  } catch (error) {
    if (interruption.aborted || !detached.signal.aborted) throw error;
    return tell(options, leftWords(taskId));
  } finally {
    typed.close();
    printer.endLine();
  }
  const { viewOfEnded } = await import("../../../shared/client/mesh-client.ts");
  const task = valueOf(await viewOfEnded(mesh, taskId, interruption));
  await printTask(task, options);
  if (task.state !== "succeeded") throw new Failure("");
}

function noteApproval({ event }: TaskLog, asking: string[]): void {
  if (event?.type === "approval") asking.push(event.id);
}

/** Takes what is typed, a line after the other. The end of a terminal's input detaches, that of a file does not. */
async function listen(
  mesh: MeshClient,
  taskId: string,
  options: CommonOptions,
  asking: string[],
  detach: () => void,
): Promise<Interface> {
  const { ATTACH_HELP, readTyped } = await import("./attach-line.ts");
  const lines = createInterface({ input: process.stdin });
  let said = Promise.resolve();
  const obey = async (line: string) => {
    const typed = readTyped(line, asking);
    if (typed.kind === "help") return tell(options, ATTACH_HELP.trimEnd());
    if (typed.kind === "detach") return detach();
    if (typed.kind === "wrong") return tell(options, `mesh: ${typed.problem}`);
    if (typed.kind === "nothing") return;
    const { approval } = typed.words;
    const answer = await mesh.say({ taskId, ...typed.words });
    if (!answer.ok) tell(options, `mesh: ${answer.error.message}`);
    if (approval !== undefined && asking.includes(approval.id)) asking.splice(asking.indexOf(approval.id), 1);
  };
  lines.on("line", (line) => {
    // In the order in which they were typed.
    said = said.then(() => obey(line)).catch((error: unknown) => tell(options, `mesh: ${String(error)}`));
  });
  lines.on("close", () => {
    if (process.stdin.isTTY) detach();
  });
  if (process.stdin.isTTY) tell(options, `Attached to ${taskId}; /help tells what you can type.`);
  return lines;
}
