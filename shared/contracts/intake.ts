// How much the mesh has to do, and how much it takes: what whoever submits a request reads before.
import { z } from "zod";
import { subject } from "./subject.ts";

export const intakeSubject = subject("mesh.intake");

const count = z.int().nonnegative();

export const Intake = z.object({
  /** Of the log, as far as it was followed for this count. */
  sequence: z.int().nonnegative(),
  /** Tasks without an end, by priority. */
  unfinished: z.object({ high: count, normal: count, low: count }),
  /** So many may there be of each priority. */
  limit: z.int().positive(),
  /** The bus has no room but what was held for facts: requests have to wait. */
  full: z.boolean().default(false),
});
export type Intake = z.infer<typeof Intake>;
