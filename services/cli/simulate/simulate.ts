// `mesh simulate`: the scheduler's own core on tasks and machines that are not there, in virtual time, each policy beside
// an omniscient one. It touches no mesh, but for `--history`, which reads one.
import { Command } from "commander";
import type { Outcome } from "../../simulator/measures.ts";
import { interruption } from "../interruption.ts";
import { valueOf } from "../outcome.ts";
import { tell } from "../session.ts";
import type { Flags } from "./plan.ts";

export const simulateCommand = (): Command =>
  new Command("simulate")
    .description(
      "try placement policies on simulated machines: made-up tasks, a trace, or this mesh's own history",
    )
    .option("--policy <names>", "policies with commas between, or all", "all")
    .option("--weights <json>", 'weights of policy resource, such as \'{"memory":0.9,"cpu":0.1}\'')
    .option("--learn <values>", "placement.learn: true, false, or both beside each other", "true")
    .option("--hosts <hosts>", "so many drawn by chance, or sizes: 8x16GB,2x64GB:24 (24 cores) (default: 50)")
    .option("--hosts-file <file>", "machines as `mesh hosts --json` prints them")
    .option("--heartbeat <duration>", "how old what the scheduler knows of a host may be: 1s to 60s", "1s")
    .option("--tasks <number>", "made-up tasks (default: 10000)")
    .option("--load <share>", "share of the scarcest resource that they ask for on average (default: 0.8)")
    .option("--burst <number>", "they arrive so many at once (default: 1)")
    .option("--unnamed <share>", "so many of them name no memory; each repository has its own typical need")
    .option("--trace <file>", "tasks from a file instead: CSV with arrival,duration,memory, or SWF")
    .option("--history", "tasks from the log of a running mesh instead, on its hosts if no others are named")
    .option("--url <url>", "of that mesh's bus: nats://… or tls://…")
    .option("--seed <number>", "what is drawn by chance is drawn from this", "1")
    .option("--runs <number>", "runs of each policy, with this seed and those after it", "1")
    .option("--svg <file>", "write a chart")
    .option("--html <file>", "write a page with the chart and the table")
    .option("--json", "print JSON")
    .option("--quiet", "no messages on stderr but errors")
    .addHelpText("after", HELP)
    .action(simulate);

const HELP = `
What is simulated: the product's queue, fleet, policies and dispatcher decide on heartbeats as old as --heartbeat says,
and each host judges for itself, by the host agent's own admission, on what is true. Virtual time; the same seed gives
the same numbers.
  made-up tasks  lognormal durations, median 7 min (sigma 1.2), 2 h at most; 0.5 to 4 GB asked for in steps of 0.5,
                 of which they use 50 to 100 %, but 15 of 100 tasks use up to 150 %; memory is reached 45 s after the
                 start; a core each is asked for, 0.25 to 1.25 used; ten repositories, a few with most of the tasks
  machines       8 to 64 GB, 4 to 16 cores, a slot for every 2 GB; the owner uses 10 to 30 % of the memory, give or
                 take 5, and up to 80 % of the cores, doing something else every ten minutes
  unnamed        all tasks of a repository ask for what is typical of it (0.5 to 4 GB), or would: such a share of them
                 names no memory, and is counted with what the scheduler expects. The same tasks whatever the share
  load           what the tasks ask for (memory), use (cores) or take (slots), of what the owners leave; the largest
  CSV            a header with arrival,duration,memory (seconds, seconds, bytes), other columns are passed over
  SWF            feitelson.dev/swf; of each job, submit time (2), run time (4), requested memory (10; where -1, used
                 memory, 7; where -1, the default of a request), used memory (7; where -1, what was asked), user (12)
                 as its repository. One job is one task on one core; jobs without a run time are passed over
  history        tasks that ended, each as long as its last attempt, using the memory that this needed at its peak, or
                 what it asked for where that was not measured. Who named no memory names none again
What is printed:
  slowdown       mean over the tasks of (end - arrival) / the time it takes with a core to itself, 10 s at least. An
                 attempt is slower where owner and attempts want more cores than there are
  × omniscient   that, of a decider that knows what is truly free and truly used, and needs no time: in the order of
                 arrival, where the task runs fastest, then where most memory is left; on the same arrivals
  delay          from arrival to start
  OOM/1000       attempts killed, of 1,000: what owner and attempts truly use exceeds the machine's memory, and the
                 attempt that uses most is killed. Its task fails, as in the mesh, and has no slowdown
  refused        share of the orders that hosts refused
  imbalance      coefficient of variation of the hosts' use of memory, averaged over the run
  Jain           Jain's index of the repositories' mean slowdowns: 1 if all are served alike
Limits: 1,000,000 tasks, 10,000 machines, arrivals within a year, 100,000 tasks waiting at once.
How long it takes: of each policy a million tasks over 30 days on 100 machines keep a core busy for about two minutes;
it grows with tasks times machines. Tasks that wait cost more: 20,000 that arrive at once on 50 machines, half a minute.
Examples:
  mesh simulate --runs 5
  mesh simulate --policy resource,power-of-two --burst 60 --heartbeat 15s --html burst.html
  mesh simulate --policy resource --unnamed 1 --learn both
  mesh simulate --trace jobs.csv --hosts 8x16GB,2x64GB
  mesh simulate --history --hosts 4x32GB --policy resource`;

async function simulate(flags: Flags): Promise<void> {
  const { planOf } = await import("./plan.ts");
  const { runJobs } = await import("../../simulator/compare.ts");
  const { reportOf, tableText, writeChart } = await import("./report.ts");
  const { jsonLine } = await import("../terminal/plain-text.ts");
  const plan = await planOf(flags, (text) => tell(flags, text));
  const { contenders, heartbeatMs, weights } = plan;
  const jobs = contenders.flatMap(({ decider, learn }) =>
    plan.runs.map((run) => ({ ...run, decider, learn, heartbeatMs, weights })),
  );
  const onDone = (done: number) => tell(flags, `${done} of ${jobs.length} runs`);
  const all = valueOf(await runJobs(jobs, { onDone, signal: interruption }));
  const outcomes = contenders.map(({ name }, index): [string, Outcome[]] => [
    name,
    all.slice(index * plan.runs.length, (index + 1) * plan.runs.length),
  ]);
  const report = reportOf(plan, outcomes);
  await writeChart(flags, report, outcomes);
  process.stdout.write(flags.json ? jsonLine(report) : tableText(report));
}
