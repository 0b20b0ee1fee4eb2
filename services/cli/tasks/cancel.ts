// `mesh cancel`: one task, every unfinished one of a pull request, or of a repository.
import { Command } from "commander";
import type { CancelRequest } from "../../../shared/contracts/api.ts";
import { UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";

interface Options extends CommonOptions {
  pr?: string;
  repository?: string;
  reason?: string;
}

export const cancelCommand = (): Command =>
  withCommonFlags(
    new Command("cancel")
      .description("cancel a task, or all of a pull request or a repository")
      .usage("ID | --pr owner/name#N | --repository owner/name")
      .argument("[id]", "the task's id")
      .option("--pr <owner/name#N>", "every unfinished task of this pull request")
      .option("--repository <owner/name>", "every unfinished task of this repository")
      .option("--reason <text>", "why, for those who ask"),
  ).action(async (taskId: string | undefined, options: Options) => {
    const request = await requestOf(taskId, options);
    await withMesh(options, async (mesh) => {
      const { jsonLine } = await import("../terminal/plain-text.ts");
      const { cancelled } = valueOf(await mesh.cancel(request));
      if (options.json) process.stdout.write(jsonLine({ cancelled }));
      else if (cancelled.length === 0) tell(options, "Nothing to cancel.");
      else process.stdout.write(cancelled.map((id) => `${id}\n`).join(""));
    });
  });

async function requestOf(
  taskId: string | undefined,
  { pr, repository, reason }: Options,
): Promise<CancelRequest> {
  const { CancelRequest: Schema } = await import("../../../shared/contracts/api.ts");
  if ([taskId, pr, repository].filter((given) => given !== undefined).length !== 1)
    throw new UsageError("expected one of: a task's id, --pr owner/name#N, --repository owner/name");
  const pullRequest = /^(.+)#(\d+)$/.exec(pr ?? "");
  if (pr !== undefined && pullRequest === null)
    throw new UsageError(`--pr: expected owner/name#N, not "${pr}"`);
  const target =
    taskId !== undefined
      ? { taskId }
      : pullRequest !== null
        ? { repository: pullRequest[1], prNumber: Number(pullRequest[2]) }
        : { repository };
  const request = Schema.safeParse({ ...target, ...(reason === undefined ? {} : { reason }) });
  if (request.success) return request.data;
  throw new UsageError(
    taskId !== undefined ? `"${taskId}" is no task id` : `"${pr ?? repository}" is no owner/name`,
  );
}
