// `mesh retry ID | --all`: does an ended task again, as a new task that names the old one; or every dead letter.
import { Command } from "commander";
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import type { ApiInput, ApiReply } from "../../../shared/contracts/api.ts";
import { Failure, UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";
import { printTask, waitAndPrint } from "./deploy.ts";

interface Options extends CommonOptions {
  wait?: boolean;
  all?: boolean;
  category?: string;
  repository?: string;
}

export const retryCommand = (): Command =>
  withCommonFlags(
    new Command("retry")
      .description("do an ended task again, as a new one; or all dead letters")
      .argument("[id]", "the ended task's id")
      .option("--all", "every dead letter (`mesh dead` lists them)")
      .option("--category <category>", "with --all: only what failed last of this category")
      .option("--repository <owner/name>", "with --all: only of this repository")
      .option("--wait", "watch the new task to its end; exit 0 only if it succeeded"),
  ).action(async (taskId: string | undefined, options: Options) => {
    const { all, category, repository, wait } = options;
    if ((taskId === undefined) === (all === undefined))
      throw new UsageError("expected one of a task's id and --all");
    if (taskId === undefined) {
      if (wait) throw new UsageError("--wait goes with one task, not with --all");
      return retryAll(await checkedQuery({ category, repository }), options);
    }
    if (category !== undefined || repository !== undefined)
      throw new UsageError("--category and --repository go with --all");
    await withMesh(options, async (mesh, interruption) => {
      const task = valueOf(await mesh.retry(taskId));
      if (!wait) return printTask(task, options);
      tell(options, `task ${task.taskId}`);
      await waitAndPrint(mesh, task.taskId, options, interruption);
    });
  });

type Query = ApiInput<"retryAll">;
type Outcome = Pick<ApiReply<"retryAll">, "retried" | "refused">;

async function checkedQuery(query: object): Promise<Query> {
  const { RetryAllRequest } = await import("../../../shared/contracts/api.ts");
  const { explainIssues } = await import("../../../shared/contracts/unknown-field.ts");
  const checked = RetryAllRequest.safeParse(query);
  if (!checked.success) throw new UsageError(explainIssues(checked.error, RetryAllRequest));
  return checked.data;
}

const retryAll = (query: Query, options: Options): Promise<void> =>
  withMesh(options, async (mesh) => {
    const { jsonLine } = await import("../terminal/plain-text.ts");
    const { retried, refused } = await everyPage(mesh, query);
    if (options.json) process.stdout.write(jsonLine({ retried, refused }));
    else for (const { taskId, retryOf } of retried) process.stdout.write(`${taskId} (again ${retryOf})\n`);
    if (retried.length + refused.length === 0) tell(options, "No dead letters.");
    const [first] = refused;
    if (first !== undefined)
      throw new Failure(`${refused.length} not done again, the first because: ${first.error.message}`);
  });

async function everyPage(mesh: MeshClient, query: Query): Promise<Outcome> {
  const all: Outcome = { retried: [], refused: [] };
  for (let page: Query | null = query; page !== null; ) {
    const { retried, refused, next }: ApiReply<"retryAll"> = valueOf(await mesh.retryAll(page));
    all.retried.push(...retried);
    all.refused.push(...refused);
    page = next === null ? null : { ...query, ...next };
  }
  return all;
}
