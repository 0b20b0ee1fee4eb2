// What attempts have come to, kept on disk while the log has not answered: a host that is cut off, or dies,
// says it when it is back.
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { FACT_BODIES } from "../../shared/contracts/fact.ts";

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

const fileOf = (folder: string, { taskId, attempt }: Pick<Finished, "taskId" | "attempt">): string =>
  path.join(folder, `${taskId}.${attempt}.json`);

export async function keepFinished(folder: string, finished: Finished): Promise<void> {
  await mkdir(folder, { recursive: true });
  const file = fileOf(folder, finished);
  await writeFile(`${file}.new`, JSON.stringify(finished), { flush: true });
  await rename(`${file}.new`, file);
}

export const forgetFinished = (folder: string, which: Pick<Finished, "taskId" | "attempt">): Promise<void> =>
  rm(fileOf(folder, which), { force: true });

/** What a former life left unsaid. A file that cannot be read is left out: its attempt will be called lost. */
export async function readFinished(folder: string): Promise<Finished[]> {
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
}
