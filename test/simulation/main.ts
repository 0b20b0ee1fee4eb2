// `npm run simulate:protocol -- --seed S --runs N [--mutant NAME]`: simulated runs of the product's own core, on every
// processor. Exit 1 if one broke an invariant; then its shortest history is printed, and its seed makes it again.
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { atLeast, readFlags, refuse } from "../support/flags.ts";
import { type Found, runSeed, shorten, tell } from "./explore.ts";
import { MUTANTS } from "./rules.ts";

interface Share {
  first: number;
  step: number;
  end: number;
  mutant: string | undefined;
}

const TOLD_EVERY_MS = 2_000;
const HISTORY_LINES = 200;

if (isMainThread) await explore();
else await work(workerData as Share);

async function explore(): Promise<void> {
  const flags = readFlags("simulate:protocol", { seed: "1", runs: "2000", mutant: "" });
  const first = Math.floor(atLeast("seed", flags.seed, 0));
  const runs = Math.floor(atLeast("runs", flags.runs, 1));
  const mutant = flags.mutant === "" ? undefined : flags.mutant;
  if (mutant !== undefined && !Object.hasOwn(MUTANTS, mutant))
    refuse(`--mutant must be one of: ${Object.keys(MUTANTS).join(" · ")}`);
  const workers = Math.min(runs, availableParallelism());
  let done = 0;
  const found: Found[] = [];
  const beganMs = performance.now();
  const timer = setInterval(() => say(`${done} of ${runs} runs`), TOLD_EVERY_MS);
  await Promise.all(
    Array.from(
      { length: workers },
      (_, index) =>
        new Promise<void>((finished, failed) => {
          const share: Share = { first: first + index, step: workers, end: first + runs, mutant };
          const worker = new Worker(new URL(import.meta.url), { workerData: share });
          worker.on("message", (message: Found | null) => {
            done++;
            if (message !== null) found.push(message);
          });
          worker.on("error", failed);
          worker.on("exit", () => finished());
        }),
    ),
  );
  clearInterval(timer);
  const seconds = Math.round((performance.now() - beganMs) / 1_000);
  const seeds = found.map(({ seed }) => seed).sort((one, other) => one - other);
  process.stdout.write(
    `${JSON.stringify({ runs: done, seconds, violations: seeds.length, seeds: seeds.slice(0, 20) })}\n`,
  );
  const [shown] = found.sort((one, other) => one.odd.size - other.odd.size);
  if (shown === undefined) return;
  process.exitCode = 1;
  await explain(shown, mutant);
}

async function explain(found: Found, mutant: string | undefined): Promise<void> {
  const rules = mutant === undefined ? undefined : MUTANTS[mutant];
  say(`seed ${found.seed}: invariant ${found.violation.invariant}: ${found.violation.message}`);
  const odd = await shorten(found, rules);
  say(`its odd choices: ${[...odd].map(([what, choice]) => `${what} = ${choice}`).join("; ")}`);
  const story = await tell(found.seed, odd, rules);
  for (const line of story.slice(-HISTORY_LINES)) say(line);
}

async function work({ first, step, end, mutant }: Share): Promise<void> {
  const rules = mutant === undefined ? undefined : MUTANTS[mutant];
  for (let seed = first; seed < end; seed += step) parentPort?.postMessage(await runSeed(seed, rules));
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
