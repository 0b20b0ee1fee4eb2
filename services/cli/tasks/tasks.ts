// `mesh tasks`: the tasks the mesh knows, newest first, as a table.
import { Command } from "commander";
import type { TaskView } from "../../../shared/contracts/task.ts";
import { UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";

interface Options extends CommonOptions {
  state?: string;
  repository?: string;
  pr?: string;
  limit: string;
}

export const tasksCommand = (): Command =>
  withCommonFlags(
    new Command("tasks")
      .description("list tasks, newest first")
      .option(
        "--state <state>",
        "queued, waiting, running, faulted, cancelling, succeeded, failed or cancelled",
      )
      .option("--repository <owner/name>", "only of this repository")
      .option("--pr <number>", "only of this pull request")
      .option("--limit <number>", "at most so many", "50"),
  ).action(async (options: Options) => {
    const { ListRequest } = await import("../../../shared/contracts/api.ts");
    const { explainIssues } = await import("../../../shared/contracts/unknown-field.ts");
    const { wholeOf } = await import("./deploy-request.ts");
    const query = {
      state: options.state,
      repository: options.repository,
      prNumber: options.pr === undefined ? undefined : wholeOf("--pr", options.pr),
      limit: wholeOf("--limit", options.limit, 1, 1_000),
    };
    const checked = ListRequest.safeParse(query);
    if (!checked.success) throw new UsageError(explainIssues(checked.error, ListRequest));
    await withMesh(options, async (mesh) => {
      const page = valueOf(await mesh.list(checked.data));
      const { jsonLine } = await import("../terminal/plain-text.ts");
      if (options.json) process.stdout.write(jsonLine(page));
      else if (page.data.length === 0) tell(options, "No tasks.");
      else {
        process.stdout.write(await tableOf(page.data));
        if (page.nextCursor !== null) tell(options, "There are more: raise --limit.");
      }
    });
  });

async function tableOf(tasks: TaskView[]): Promise<string> {
  const { cut, styledState, table } = await import("../terminal/table.ts");
  const { plainLine } = await import("../terminal/plain-text.ts");
  const { formatDuration } = await import("../terminal/quantities.ts");
  const ageOf = ({ requestedAt }: TaskView) =>
    requestedAt === null ? "" : formatDuration(Date.now() - Date.parse(requestedAt));
  return table(
    ["TASK", "STATE", "HOST", "ATTEMPT", "AGE", "REPOSITORY", "BRANCH", "COMMIT"],
    tasks.map((task) => [
      task.taskId,
      styledState(task.state),
      task.hostId ?? "-",
      task.attempt === 0 ? "-" : String(task.attempt),
      ageOf(task),
      cut(plainLine(task.repository), 40) + (task.prNumber === null ? "" : `#${task.prNumber}`),
      cut(plainLine(task.branch), 40),
      plainLine(task.sha).slice(0, 8),
    ]),
  );
}
