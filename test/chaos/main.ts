// `npm run chaos -- --seed S --minutes M`: runs the mesh as real processes under seeded faults and holds its history
// against the invariants. Exit 1 if one was violated; then the history, the faults and the seed are kept.
import { parseArgs } from "node:util";
import { locateNatsServer } from "../../shared/nats-server/locate.ts";
import { judgedRun } from "./judged-run.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    minutes: { type: "string", default: "2" },
    hosts: { type: "string", default: "5" },
    slots: { type: "string", default: "3" },
    "lease-ms": { type: "string", default: "3000" },
    outstanding: { type: "string", default: "20" },
  },
});
const { seed, minutes, hosts, slots, "lease-ms": leaseMs, outstanding } = values;
const { path: program } = await locateNatsServer({ onProgress: say });
const run = await judgedRun({
  seed: atLeast("seed", seed, 0),
  durationMs: atLeast("minutes", minutes, 0) * 60_000,
  hosts: atLeast("hosts", hosts, 1),
  slots: atLeast("slots", slots, 1),
  leaseMs: atLeast("lease-ms", leaseMs, 1_000),
  outstanding: atLeast("outstanding", outstanding, 1),
  program,
  say,
});
process.stdout.write(`${JSON.stringify({ seed: Number(seed), ...run })}\n`);
if (run.keptIn !== null) {
  say(`kept in ${run.keptIn}; again by: npm run chaos -- --seed ${seed} --minutes ${minutes}`);
  process.exitCode = 1;
}

function atLeast(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= least) return value;
  say(`--${flag} must be a number, at least ${least}; it is ${JSON.stringify(text)}`);
  process.exit(2);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
