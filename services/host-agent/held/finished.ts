// What attempts have come to, kept on disk while the log has not answered: a host that is cut off, or dies,
// says it when it is back.
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { FACT_BODIES } from "../../../shared/contracts/fact.ts";

const Finished = z.object({
  taskId: z.string(),
  attempt: z.int(),
  nonce: z.string(),
  after: z.int(),
  fact: z.discriminatedUnion("kind", [
    z.object({
      kind: z.literal("succeeded"),
      body: FACT_BODIES.succeeded.omit({ after: true, attempt: true, nonce: true }),
    }),
    z.object({
      kind: z.literal("faulted"),
      body: FACT_BODIES.faulted.omit({ after: true, attempt: true, nonce: true }),
    }),
  ]),
});
export type Finished = z.infer<typeof Finished>;

export interface FinishedStore {
  keep(finished: Finished): Promise<void>;
  forget(which: Pick<Finished, "taskId" | "attempt">): Promise<void>;
  /** What a former life left unsaid. What cannot be read is left out: its attempt will be called lost. */
  read(): Promise<Finished[]>;
}

export function finishedIn(folder: string): FinishedStore {
  const fileOf = ({ taskId, attempt }: Pick<Finished, "taskId" | "attempt">) =>
    path.join(folder, `${taskId}.${attempt}.json`);
  return {
    async keep(finished) {
      await mkdir(folder, { recursive: true });
      const file = fileOf(finished);
      await writeFile(`${file}.new`, JSON.stringify(finished), { flush: true });
      await rename(`${file}.new`, file);
    },
    forget: (which) => rm(fileOf(which), { force: true }),
    async read() {
      const names = await readdir(folder).catch(() => []);
      const found = await Promise.all(
        names
          .filter((name) => name.endsWith(".json"))
          .map(async (name) => {
            try {
              return [Finished.parse(JSON.parse(await readFile(path.join(folder, name), "utf8")))];
            } catch {
              return [];
            }
          }),
      );
      return found.flat();
    },
  };
}

/** What is known of an end that the log does not take: its artifacts stay where they are, and nothing names them. */
export function inWords({ kind, body }: Finished["fact"]): string {
  const artifacts = body.result?.artifacts.map(({ name, sha256 }) => `${name} ${sha256}`) ?? [];
  const left = artifacts.length === 0 ? "" : `, and left ${artifacts.join(", ")}`;
  return kind === "succeeded"
    ? `it succeeded${left}`
    : `it failed (${body.failure.category}: ${body.failure.message})${left}`;
}
