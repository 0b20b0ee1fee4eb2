// The secrets of this host while it runs: its file is looked at every few seconds for heartbeats, and read anew for each
// attempt that names one. Whatever has stood there since the host agent began is taken out of all that leaves an attempt.
import type { Logger } from "pino";
import { ConfigurationError } from "../../../shared/config/environment.ts";
import { type OfferedSecret, repositoryAt } from "../../../shared/contracts/secret.ts";
import { gauge } from "../condition/gauge.ts";
import type { Redactor } from "../redaction.ts";
import { grantedBy, offeredBy, type ReadStore } from "./store.ts";
import { readStore } from "./store-file.ts";

const LOOK_MS = 5_000;

export interface GrantSecrets {
  /** The values of these names for what is cloned, as environment variables; or what has to be done to have them. */
  grant(
    names: readonly string[],
    cloneUrl: string,
  ): Promise<{ ok: true; values: Record<string, string> } | { ok: false; message: string }>;
}

export interface HostSecrets extends GrantSecrets, Disposable {
  offered(): OfferedSecret[];
}

/** Throws a `ConfigurationError` for a store that is not as it must be. `isNamed`: somebody means it to be there. */
export async function keepSecrets(options: {
  file: string;
  isNamed: boolean;
  hostId: string;
  redactor: Redactor;
  log: Logger;
}): Promise<HostSecrets> {
  const { file, isNamed, hostId, redactor, log } = options;
  let told: string | null = null;
  const read = async (): Promise<ReadStore> => {
    const found = await readStore(file, { mayLack: !isNamed });
    if (found.ok) redactor.learn(Object.values(found.store).map(({ value }) => value));
    const problem = found.ok ? null : found.problem;
    if (problem !== null && problem !== told) log.error({ problem }, "no task gets a secret of this host");
    told = problem;
    return found;
  };
  const first = await read();
  if (!first.ok) throw new ConfigurationError(`secrets of this host: ${first.problem}`);
  const latest = gauge<ReadStore>(first, read, { everyMs: LOOK_MS });
  return {
    offered() {
      const found = latest.latest();
      return found.ok ? offeredBy(found.store) : [];
    },
    async grant(names, cloneUrl) {
      if (names.length === 0) return { ok: true, values: {} };
      const found = await read();
      if (!found.ok)
        return { ok: false, message: `the secrets of host ${hostId} cannot be used: ${found.problem}` };
      const { values, lacking } = grantedBy(found.store, names, cloneUrl);
      if (lacking.length === 0) return { ok: true, values };
      return { ok: false, message: `host ${hostId} has no ${lacking.join(", ")} ${whatHelps(cloneUrl)}` };
    },
    [Symbol.dispose]: () => latest[Symbol.dispose](),
  };
}

function whatHelps(cloneUrl: string): string {
  const repository = repositoryAt(cloneUrl);
  return repository === null
    ? "for this clone URL: expected one of https:// or ssh://, by which nobody else can answer"
    : `for ${repository}: \`mesh host secret set\` there gives it one, \`mesh host secret grant\` lets this repository have it`;
}
