// What an operator holds up: the whole fleet, or the tasks of one repository. What runs goes on; nothing new begins.
import { z } from "zod";
import { RepositoryName } from "./ids.ts";

export const Pause = z.object({
  /** Null for the whole fleet. */
  repository: RepositoryName.nullable(),
  reason: z.string().max(500).nullable(),
});
export type Pause = z.infer<typeof Pause>;

/** `since` is the broker's time. */
export const StandingPause = Pause.extend({ since: z.iso.datetime() });
export type StandingPause = z.infer<typeof StandingPause>;

/**
 * Its key in the bucket. Forges know no case, so one repository has one key; a dot parts the tokens of a subject, and
 * `=` is in no repository's name.
 */
export const pauseKey = (repository: string | null): string =>
  repository === null ? "fleet" : `repository.${repository.toLowerCase().replaceAll(".", "=2e")}`;

export const pauseInWords = ({ repository, reason, since }: StandingPause): string =>
  `${repository === null ? "the whole fleet" : `repository ${repository}`} is paused by an operator since ${since}${reason === null ? "" : `: ${reason}`}`;
