// What is paused, as a service has it: read from its bucket and watched. A pause that nobody can read holds nothing up.
import type { Logger } from "pino";
import { Pause, pauseInWords, pauseKey, type StandingPause } from "../contracts/pause.ts";
import { followBucket } from "./bucket.ts";
import type { Bus } from "./connect.ts";
import type { Following } from "./follower.ts";
import { PAUSES } from "./streams.ts";

/** What is known of pauses. */
export interface Pauses {
  all(): StandingPause[];
  /** Why the repository's tasks are held up, in words; null if they are not. */
  holding(repository: string): string | null;
}

/** `onChange` is called after each change. */
export async function followPauses(
  bus: Bus,
  log: Logger,
  onChange: () => void = () => {},
): Promise<Following & Pauses> {
  const pauses = new Map<string, StandingPause & { words: string }>();
  const following = await followBucket(bus, PAUSES, ({ key, value, timeMs }) => {
    const pause = Pause.safeParse(value);
    if (value === undefined) pauses.delete(key);
    else if (!pause.success || pauseKey(pause.data.repository) !== key)
      return log.warn({ key, value }, "nobody can read this pause");
    else {
      const standing = { ...pause.data, since: new Date(timeMs).toISOString() };
      pauses.set(key, { ...standing, words: pauseInWords(standing) });
    }
    onChange();
  });
  return Object.assign(following, {
    all: () => [...pauses.values()].map(({ repository, reason, since }) => ({ repository, reason, since })),
    holding: (repository: string) =>
      pauses.size === 0
        ? null
        : ((pauses.get(pauseKey(null)) ?? pauses.get(pauseKey(repository)))?.words ?? null),
  });
}
