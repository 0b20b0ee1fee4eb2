// `mesh dead`: the tasks that failed with no attempts left and that nobody has done again, each with its whole story.
import { Command } from "commander";
import type { DeadLetter } from "../../../shared/contracts/api.ts";
import { UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";

interface Options extends CommonOptions {
  category?: string;
  repository?: string;
  limit: string;
}

export const deadCommand = (): Command =>
  withCommonFlags(
    new Command("dead")
      .description("list dead letters: tasks that failed with no attempts left, the latest first")
      .option("--category <category>", "only what failed last so: host, setup, source, lost, internal …")
      .option("--repository <owner/name>", "only of this repository")
      .option("--limit <number>", "at most so many", "50"),
  ).action(async (options: Options) => {
    const { DeadRequest } = await import("../../../shared/contracts/api.ts");
    const { explainIssues } = await import("../../../shared/contracts/unknown-field.ts");
    const { wholeOf } = await import("./deploy-request.ts");
    const { category, repository } = options;
    const limit = wholeOf("--limit", options.limit, 1, 100);
    const checked = DeadRequest.safeParse({ category, repository, limit });
    if (!checked.success) throw new UsageError(explainIssues(checked.error, DeadRequest));
    await withMesh(options, async (mesh) => {
      const page = valueOf(await mesh.dead(checked.data));
      const { jsonLine } = await import("../terminal/plain-text.ts");
      if (options.json) process.stdout.write(jsonLine(page));
      else if (page.data.length === 0) tell(options, "No dead letters.");
      else {
        for (const letter of page.data) process.stdout.write(await letterText(letter));
        if (page.nextCursor !== null) tell(options, "There are more: raise --limit, or narrow the list.");
        tell(options, "Do one again with `mesh retry <id>`, or all with `mesh retry --all`.");
      }
    });
  });

async function letterText({ task, attempts }: DeadLetter): Promise<string> {
  const { cut, properties, styled } = await import("../terminal/table.ts");
  const { plainLine } = await import("../terminal/plain-text.ts");
  const { formatDuration } = await import("../terminal/quantities.ts");
  const ago = task.endedAt === null ? "" : ` ${formatDuration(Date.now() - Date.parse(task.endedAt))} ago`;
  const pullRequest = task.prNumber === null ? "" : `#${task.prNumber}`;
  const what = `${plainLine(task.repository)}${pullRequest} ${plainLine(task.branch)} @ ${plainLine(task.sha).slice(0, 8)}`;
  return (
    `${task.taskId}  ${styled("red", task.failure?.category ?? "failed")}${ago}  ${what}\n` +
    (attempts.length === 0
      ? ""
      : properties(
          attempts.map(({ attempt, hostId, startedAt, endedAt, category, message }) => [
            `attempt ${attempt}`,
            `${hostId}  ${startedAt}, after ${formatDuration(Date.parse(endedAt) - Date.parse(startedAt))}  ${category}: ${cut(plainLine(message), 200)}`,
          ]),
        ))
  );
}
