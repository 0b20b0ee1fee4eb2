// `mesh deploy`: submits one task and, with --wait, watches it to its end. It must never leave in doubt whether the
// task goes on: who interrupts the waiting is told so.
import { createReadStream } from "node:fs";
import { Command } from "commander";
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import type { TaskView } from "../../../shared/contracts/task.ts";
import { Interrupted } from "../interruption.ts";
import { Failure, messageOf, UsageError, valueOf } from "../outcome.ts";
import { collect } from "../repeatable.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";
import type { DeployFlags } from "./deploy-request.ts";

interface Options extends DeployFlags, CommonOptions {
  file?: string;
  promptFile?: string;
  wait?: boolean;
}

/** More than a gateway reads, and than the log takes. */
const SOURCE_MAX_BYTES = 1024 * 1024;

/** A gateway gives up sooner; where none may push, nobody says so. */
const PUSH_MS = 1_200_000;
const PUSH_POLL_MS = 250;
/** One gateway takes another's place sooner. */
const NO_PUSHER_MS = 10_000;

export const deployCommand = (): Command =>
  withCommonFlags(
    new Command("deploy")
      .description(
        "deploy a pull request: run a command or an agent on it at an exact commit, then the checks",
      )
      .usage(
        "--repo URL|owner/name --pr-branch B --sha S [options] -- CMD ARG… | --prompt TEXT   (or --file F|-)",
      )
      .argument("[command...]", "what to run; one quoted argument with spaces is a line for sh -c")
      .option(
        "--type <type>",
        "pr_deployment (what the rest says), fix or code_analysis (by an agent), validation (the gates alone)",
      )
      .option("--repo <repository>", "clone URL, local path, or owner/name on GitHub")
      .option("--pr-branch <branch>", "the pull request's branch")
      .option("--sha <sha>", "the exact commit, in full")
      .option("--pr <number>", "the pull request's number: a newer commit of it supersedes this task")
      .option(
        "--fork",
        "it comes from a fork: work of strangers, for hosts that take such, without secrets or an open network",
      )
      .option("--pr-title <text>", "its title, for an agent")
      .option("--pr-body <text>", "its description, for an agent")
      .option(
        "--base <branch>",
        "the branch it is for, whose gates and settings count; the remote's own if not given",
      )
      .option("--priority <priority>", "high, normal or low")
      .option("--label <key=value>", "a label that the host must carry (repeatable)", collect)
      .option(
        "--require <constraint>",
        'what its labels must be: "gpu exists", "os!=windows", "zone in (a, b)" (repeatable)',
        collect,
      )
      .option("--memory <size>", "what it is expected to use, for placement: 512MB, 2GB, 1GiB")
      .option("--memory-limit <size>", "what it may never exceed")
      .option("--cpus <number>", "processor cores it is expected to use")
      .option("--cpu-limit <number>", "cores' worth of time that it may never exceed")
      .option("--process-limit <number>", "processes and threads that it may never have more of at once")
      .option("--timeout <duration>", "of one attempt: 90s, 10m, 1h")
      .option("--max-attempts <number>", "attempts that may fail before the task does")
      .option(
        "--check <command>",
        "a command that must succeed on the result, run by sh -c (repeatable)",
        collect,
      )
      .option("--task-id <id>", "makes the call safe to repeat: one id is one task")
      .option(
        "--secret <name>",
        "a secret of its host's that work and gates get as an environment variable (repeatable)",
        collect,
      )
      .option("--env <key=value>", "an environment variable of the command (repeatable)", collect)
      .option("--prompt <text>", "what a coding agent is to do, in place of a command")
      .option("--prompt-file <file>", "the same from a file, `-` for standard input")
      .option(
        "--runner <name>",
        "what runs it: claude-code (if an agent does), codex, another agent of the hosts, command (if there is one)",
      )
      .option("--model <name>", "the agent's model")
      .option("--max-turns <number>", "the agent is ended after so many turns")
      .option("--max-budget <usd>", "or once all attempts of the task have cost so much")
      .option("--max-tokens <number>", "no attempt follows once all of them have used so many tokens")
      .option(
        "--allow-tool <rule>",
        'what the agent may do unasked, such as "Bash(npm test)" (repeatable)',
        collect,
      )
      .option(
        "--approvals <policy>",
        "what becomes of other tools that ask: deny, ask (by `mesh say`) or allow",
      )
      .option("--keep-workspace", "keep what a failed attempt leaves on its host for a day, for `mesh shell`")
      .option(
        "--push",
        "have its patch pushed onto the branch once it has succeeded; with --wait, exit 0 only if that was done",
      )
      .option("--no-supersede", "cancel no older task of the same pull request")
      .option("--file <file>", "a deploy request in JSON, `-` for standard input, instead of the flags above")
      .option("--wait", "watch it to its end; exit 0 only if it succeeded"),
  ).action(async (words: string[], options: Options, command: Command) => {
    const request = await readRequest(words, options, command);
    await withMesh(options, (mesh, interruption) => submitAndTell(mesh, request, options, interruption));
  });

async function readRequest(words: string[], options: Options, command: Command): Promise<DeployRequest> {
  if (words.length > 0 && !process.argv.includes("--"))
    throw new UsageError(`write the command after "--": … -- ${words.join(" ")}`);
  const { requestFromFlags, requestFromText } = await import("./deploy-request.ts");
  if (options.file === undefined) return requestFromFlags(await withPrompt(options), words);
  const besides = new Set(["file", "wait", "json", "quiet", "url", "taskId"]);
  const flag = command.options.find(
    (option) =>
      !besides.has(option.attributeName()) && command.getOptionValueSource(option.attributeName()) === "cli",
  );
  if (flag !== undefined || words.length > 0)
    throw new UsageError(
      `${flag?.long ?? "a command"} and --file exclude each other: write it into the file`,
    );
  return requestFromText(
    await readSource("--file", options.file),
    options.file === "-" ? "standard input" : options.file,
    options.taskId,
  );
}

async function withPrompt(options: Options): Promise<Options> {
  const { promptFile, prompt } = options;
  if (promptFile === undefined) return options;
  if (prompt !== undefined) throw new UsageError("--prompt and --prompt-file exclude each other");
  return { ...options, prompt: await readSource("--prompt-file", promptFile) };
}

async function readSource(flag: string, file: string): Promise<string> {
  const name = file === "-" ? "standard input" : `${flag}: ${file}`;
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of file === "-" ? process.stdin : createReadStream(file)) {
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size > SOURCE_MAX_BYTES) break;
    }
  } catch (error) {
    throw new UsageError(`${name}: ${messageOf(error)}`);
  }
  if (size > SOURCE_MAX_BYTES)
    throw new UsageError(`${name} is larger than ${SOURCE_MAX_BYTES} bytes: nothing that is deployed is`);
  return Buffer.concat(chunks).toString("utf8");
}

async function submitAndTell(
  mesh: MeshClient,
  given: DeployRequest,
  options: Options,
  signal: AbortSignal,
): Promise<void> {
  const { uuidv7 } = await import("uuidv7");
  // Chosen here, so that it can be named whatever happens next.
  const taskId = given.taskId ?? uuidv7();
  try {
    const task = valueOf(await mesh.submit({ ...given, taskId }));
    signal.throwIfAborted();
    if (!options.wait) await printTask(task, options);
    else {
      tell(options, `task ${taskId}`);
      await waitAndPrint(mesh, taskId, options, signal);
    }
  } catch (error) {
    if (error instanceof Interrupted)
      process.stderr.write(
        `\nmesh: you have stopped waiting; task ${taskId} goes on.\n` +
          `Follow it with \`mesh logs ${taskId} --follow\`, end it with \`mesh cancel ${taskId}\`.\n`,
      );
    throw error;
  }
}

/** Watches a task and prints its result; throws a `Failure` for any end but success. */
export async function waitAndPrint(
  mesh: MeshClient,
  taskId: string,
  options: CommonOptions,
  signal: AbortSignal,
): Promise<void> {
  const { watchTask } = await import("./watch.ts");
  const { createProgress } = await import("../terminal/progress.ts");
  const progress = createProgress(options.quiet);
  const { task: ended, tail } = await watchTask(mesh, taskId, { progress, signal });
  const task = await untilPushed(mesh, ended, options, signal);
  if (task.state !== "succeeded" && progress.live && tail.length > 0)
    tell(options, `The last of its output:\n${tail.map((line) => `  | ${line}`).join("\n")}`);
  await printTask(task, options);
  const isPushed = task.push === null || task.push.state === "pushed";
  if (task.state !== "succeeded" || !isPushed) throw new Failure("");
}

/** The task with what became of its patch, if that was to be pushed. */
async function untilPushed(
  mesh: MeshClient,
  ended: TaskView,
  options: CommonOptions,
  signal: AbortSignal,
): Promise<TaskView> {
  if (ended.push?.state !== "wanted") return ended;
  tell(options, "its patch is to be pushed by a gateway");
  const deadline = performance.now() + PUSH_MS;
  let task = ended;
  let pusherSeenMs = performance.now();
  while (task.push?.state === "wanted" && performance.now() < deadline) {
    signal.throwIfAborted();
    await new Promise((done) => setTimeout(done, PUSH_POLL_MS));
    const asked = await mesh.get(task.taskId);
    if (!asked.ok) continue;
    task = asked.value;
    if (task.push?.state !== "wanted" || task.push.pusher !== false) pusherSeenMs = performance.now();
    if (performance.now() - pusherSeenMs < NO_PUSHER_MS) continue;
    tell(
      options,
      `no gateway that may push is there: [push."${task.repository}"] in its MESH_CONFIG lets one`,
    );
    return task;
  }
  return task;
}

/** One line of JSON is exactly what `GET /v1/tasks/:id` gives. */
export async function printTask(task: TaskView, options: CommonOptions): Promise<void> {
  if (options.json) {
    const { jsonLine } = await import("../terminal/plain-text.ts");
    process.stdout.write(jsonLine(task));
  } else process.stdout.write((await import("./task-text.ts")).taskText(task));
}
