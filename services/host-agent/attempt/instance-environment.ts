// What a process in an instance has in its environment besides what it is told: what programs need to run at all, and
// where package managers keep what they fetch. Pure; nothing of the machine's secrets is among it.
import type { Isolation } from "../guest/inside.ts";

/** Of the machine's environment, only what programs need to run at all. */
const PASSED_ON = ["PATH", "LANG", "LC_ALL", "TZ"];

export function machineEnvironment(
  env: NodeJS.ProcessEnv,
  isolation: Isolation | undefined,
): Record<string, string> {
  // A sandbox has a /tmp of its own, and no other folder for such files.
  const names = isolation === "sandbox" ? PASSED_ON : [...PASSED_ON, "TMPDIR"];
  const passed = names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]]));
  return { PATH: "/usr/local/bin:/usr/bin:/bin", ...Object.fromEntries(passed) };
}

/** Where package managers look for what they have fetched before; most others go by the first of these. */
export const dependencyEnvironment = (folder: string | undefined): Record<string, string> =>
  folder === undefined
    ? {}
    : {
        XDG_CACHE_HOME: folder,
        npm_config_cache: `${folder}/npm`,
        GOMODCACHE: `${folder}/go-mod`,
        CARGO_HOME: `${folder}/cargo`,
      };

/** A task may set its own PATH; what tells it who it is, it may not. */
export const pathOf = ({ PATH, LANG, LC_ALL, TZ }: Record<string, string>): Record<string, string> =>
  Object.fromEntries(
    Object.entries({ PATH, LANG, LC_ALL, TZ }).filter(([, value]) => value !== undefined),
  ) as Record<string, string>;
