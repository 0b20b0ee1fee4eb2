// One run of a runner in an instance: its process under the attempt's lease, and where what it prints and does goes.
import type { Allowance } from "../../../shared/contracts/budget.ts";
import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import type { Redactor } from "../redaction.ts";
import { eventText } from "../runner/event-text.ts";
import { openProviderDoor } from "../runner/provider-door.ts";
import type { Run, Runner, RunOutcome, RunSpec, Transport } from "../runner/runner.ts";
import type { Instance } from "./instance.ts";
import type { LogSink, OutputSink } from "./log-sink.ts";

export interface RunnerRunOptions {
  runner: Runner;
  request: DeployRequest;
  allowance: Allowance;
  session?: RunSpec["session"];
  instance: Instance;
  stretch: string;
  sink: LogSink;
  signal: AbortSignal;
  /** Where an artifact of this name is kept. */
  fileOf(name: string): string;
  /** Called once it can be spoken to, and with null once it cannot. */
  onRun(run: Run | null): void;
  /** What its process complains of is cut, and ends in words of its failure: secrets go before that. */
  redactor: Redactor;
}

/** Resolves when nothing of it is left and its output is complete. */
export async function runRunner(options: RunnerRunOptions): Promise<RunOutcome> {
  const { runner, request, allowance, session, instance, stretch, sink, fileOf } = options;
  const output = sink.open("output", fileOf("log"));
  let transcript: OutputSink | null = null;
  const provider = runner.provider && openProviderDoor(runner.provider, allowance);
  if (provider) instance.answerAt(provider.door.name, provider.answer);
  const transport: Transport = {
    workTree: instance.workTree,
    start(command, listener) {
      if (listener !== undefined) transcript = sink.open("transcript", fileOf("transcript"));
      const env = { ...command.env, ...provider?.environment };
      const doors = provider ? [provider.door] : [];
      const complaint = options.redactor.stream();
      const process = instance.start({ stretch, ...command, env, doors }, (stream, bytes) => {
        const kept = stream === "stdout" ? (transcript ?? output) : output;
        kept.write(stream, bytes);
        listener?.[stream](stream === "stdout" ? bytes : complaint.push(bytes));
      });
      const finished = process.finished.then((exit) => {
        listener?.stderr(complaint.end());
        return exit;
      });
      return { ...process, finished };
    },
  };
  const run = runner.start(
    { request, allowance, ...(session === undefined ? {} : { session }) },
    transport,
    options.signal,
  );
  options.onRun(run);
  for await (const event of run.events) output.event(event, eventText);
  const outcome = await run.outcome;
  options.onRun(null);
  await output.end();
  await (transcript as OutputSink | null)?.end();
  return provider?.judge(outcome) ?? outcome;
}
