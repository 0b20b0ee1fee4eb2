// `mesh explain ID`: why a task is where it is, from the scheduler's receipt.
import { Command } from "commander";
import type { Explanation } from "../../../shared/contracts/api.ts";
import type { Usual } from "../../../shared/contracts/outlook.ts";
import { valueOf } from "../outcome.ts";
import { type CommonOptions, withCommonFlags, withMesh } from "../session.ts";

export const explainCommand = (): Command =>
  withCommonFlags(
    new Command("explain").description("say why a task is where it is").argument("<id>", "the task's id"),
  ).action((taskId: string, options: CommonOptions) =>
    withMesh(options, async (mesh) => {
      const { jsonLine } = await import("../terminal/plain-text.ts");
      const explanation = valueOf(await mesh.explain(taskId));
      process.stdout.write(options.json ? jsonLine(explanation) : await explanationText(explanation));
    }),
  );

/** What the latest attempts like it took. */
const spread = ({ attempts, p50, p95 }: Usual["durationMs"], format: (value: number) => string): string =>
  `${format(p50)}, 95 % of ${attempts} attempt${attempts === 1 ? "" : "s"} at most ${format(p95)}`;

/** Hosts that are shown; `--json` has more. */
const SHOWN = 20;

export async function explanationText(explanation: Explanation): Promise<string> {
  const { summary, queuePosition, receipt, candidates, etaMs, usual } = explanation;
  const { formatDuration, formatSize } = await import("../terminal/quantities.ts");
  const { properties, table } = await import("../terminal/table.ts");
  const { plainLine } = await import("../terminal/plain-text.ts");
  const counts = (of: Record<string, number>) =>
    Object.entries(of)
      .map(([name, value]) => `${plainLine(name)} ${Number.isInteger(value) ? value : value.toFixed(3)}`)
      .join(", ");
  const refusals = receipt === null ? "" : counts(receipt.refusals);
  return (
    `${plainLine(summary)}\n` +
    properties([
      ["queue", queuePosition === null ? null : `number ${queuePosition}`],
      [
        "starts in",
        queuePosition === null ? null : etaMs === null ? "unknown" : `about ${formatDuration(etaMs)}`,
      ],
      [
        "memory",
        receipt?.memory ? `${formatSize(receipt.memory.bytes)}: ${plainLine(receipt.memory.why)}` : null,
      ],
      ["takes", usual === null ? null : spread(usual.durationMs, formatDuration)],
      ["needs", usual?.memoryBytes ? spread(usual.memoryBytes, formatSize) : null],
      ["costs", usual?.costUsd ? spread(usual.costUsd, (dollars) => `$${dollars.toFixed(2)}`) : null],
      ["hosts", receipt === null ? null : `${receipt.hosts} looked at, ${receipt.feasible} could take it`],
      ["refused", refusals === "" ? null : refusals],
      ["score", receipt?.score ? counts(receipt.score) : null],
      ["policy", receipt === null ? null : plainLine(receipt.policy)],
      ["decided", receipt?.at ?? null],
    ]) +
    (candidates.length === 0
      ? ""
      : table(
          ["HOST", "SCORE", "WHY"],
          candidates
            .slice(0, SHOWN)
            .map(({ hostId, score, words }) => [
              hostId,
              score === null ? "" : (score.total ?? 0).toFixed(3),
              plainLine(score === null ? words : counts(score)),
            ]),
        )) +
    (candidates.length > SHOWN ? `and ${candidates.length - SHOWN} more (--json)\n` : "")
  );
}
