// A minute of the chaos suite (`npm run chaos` makes longer runs): real processes under load, faults by chance.
import { expect, inject, it } from "vitest";
import { judgedRun } from "../chaos/judged-run.ts";

it("keeps every invariant through a minute of faults", { timeout: 300_000 }, async () => {
  const lines: string[] = [];
  const run = await judgedRun({
    seed: Date.now() % 1_000_000,
    durationMs: 60_000,
    hosts: 5,
    slots: 3,
    leaseMs: 3_000,
    outstanding: 20,
    program: inject("natsServerProgram"),
    say: (line) => void lines.push(line),
  });
  expect(run, lines.join("\n")).toMatchObject({ violations: [], crashes: [], keptIn: null });
  expect(run.tasks).toBeGreaterThan(10);
  expect(run.faults).toBeGreaterThan(10);
});
