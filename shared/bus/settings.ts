// The hot configuration as a service has it: read from its bucket and watched. What is wrong there is spoken of and
// changes nothing; a bucket that cannot be read never keeps a service from starting.
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { DEFAULT_SETTINGS, isSetting, type Settings, withSetting } from "../config/settings.ts";
import { type Entry, followBucket } from "./bucket.ts";
import type { Bus } from "./connect.ts";
import type { Following } from "./follower.ts";
import { CONFIG } from "./streams.ts";

export interface FollowedSettings extends AsyncDisposable {
  now(): Settings;
}

const AGAIN_MS = 2_000;

/** The service's own log follows `log.level`. */
export async function followSettings(bus: Bus, log: Logger): Promise<FollowedSettings> {
  const ownLevel = log.level;
  const closing = new AbortController();
  let settings = DEFAULT_SETTINGS;
  let following: Following | null = null;

  const onEntry = ({ key, value }: Entry) => {
    // A newer version's: this one has no use for it.
    if (!isSetting(key)) return log.info({ key }, "a setting that this version does not know");
    const changed = withSetting(settings, key, value);
    if (!changed.ok)
      return log.warn({ key, value, problem: changed.problem, stays: settings[key] }, "setting refused");
    settings = changed.settings;
    log.level = settings["log.level"] ?? ownLevel;
    log.info({ key, value: settings[key] }, "setting");
  };
  const attempt = async (): Promise<unknown> => {
    try {
      const begun = await followBucket(bus, CONFIG, onEntry);
      if (closing.signal.aborted) await begun[Symbol.asyncDispose]();
      else following = begun;
      await begun.caughtUp;
      return null;
    } catch (error) {
      return error;
    }
  };

  const problem = await attempt();
  if (problem !== null) {
    log.warn({ error: problem }, "the configuration cannot be read: the defaults hold until it can");
    void (async () => {
      while (!closing.signal.aborted && (await attempt()) !== null)
        await delay(AGAIN_MS, undefined, { signal: closing.signal }).catch(() => {});
    })();
  }
  return {
    now: () => settings,
    async [Symbol.asyncDispose]() {
      closing.abort();
      await following?.[Symbol.asyncDispose]();
    },
  };
}
