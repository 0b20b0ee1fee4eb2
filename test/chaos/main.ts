// `npm run chaos -- --seed S --minutes M`: runs the mesh as real processes under seeded faults and holds its history
// against the invariants. Exit 1 if one was violated; then the history, the faults and the seed are kept.
import { locateNatsServer } from "../../shared/nats-server/locate.ts";
import { atLeast, readFlags } from "../support/flags.ts";
import { judgedRun } from "./judged-run.ts";

const flags = readFlags("chaos", {
  seed: String(Date.now() % 1_000_000),
  minutes: "2",
  hosts: "5",
  slots: "3",
  "lease-ms": "3000",
  outstanding: "20",
});
const { seed, minutes, hosts, slots, "lease-ms": leaseMs, outstanding } = flags;
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

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
