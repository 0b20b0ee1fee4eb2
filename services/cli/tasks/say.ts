// `mesh say ID`: tells the agent of a running task something, has it leave what it is doing, or answers a tool of its
// that asks for approval.
import { Command } from "commander";
import { UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";

interface Options extends CommonOptions {
  interrupt?: boolean;
  allow?: string;
  deny?: string;
}

export const sayCommand = (): Command =>
  withCommonFlags(
    new Command("say")
      .description("speak to the agent of a running task")
      .usage("ID [TEXT] [--interrupt] | ID --allow APPROVAL | ID --deny APPROVAL")
      .argument("<id>", "the task's id")
      .argument("[text]", "what it is told: it takes that up between two steps")
      .option("--interrupt", "it leaves what it is doing at once; without a text that is its end")
      .option("--allow <approval>", "lets it use the tool that asks (`mesh logs` shows the approval's id)")
      .option("--deny <approval>", "or not"),
  ).action((taskId: string, text: string | undefined, options: Options) => {
    const { interrupt, allow, deny } = options;
    const answers = [allow, deny].filter((id) => id !== undefined);
    if (answers.length + (text !== undefined || interrupt ? 1 : 0) !== 1)
      throw new UsageError("expected one of: a text, --interrupt or both; --allow APPROVAL; --deny APPROVAL");
    const [id] = answers;
    return withMesh(options, async (mesh) => {
      const { jsonLine } = await import("../terminal/plain-text.ts");
      const said = valueOf(
        await mesh.say({
          taskId,
          ...(text === undefined ? {} : { text }),
          ...(interrupt ? { interrupt } : {}),
          ...(id === undefined ? {} : { approval: { id, allow: allow !== undefined } }),
        }),
      );
      if (options.json) process.stdout.write(jsonLine(said));
      else tell(options, `Said to attempt ${said.attempt} on ${said.hostId}.`);
    });
  });
