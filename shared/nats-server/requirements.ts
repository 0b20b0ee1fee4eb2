// Which nats-server features the mesh relies on and since when each exists: the one place that decides which
// version is recent enough. Pure: it must never start a program or open a connection.

interface Requirement {
  readonly feature: string;
  readonly since: string;
  /** What an older server does with it. Most say nothing, so the version is asked and not the feature. */
  readonly otherwise: string;
}

/** `otherwise` was tried with 2.10.26, 2.11.11, 2.12.0 and 2.15.1; what is below 2.10 is from release notes. */
export const requirements: readonly Requirement[] = [
  {
    feature: "direct get of a subject's last message (allow_direct)",
    since: "2.9.0",
    otherwise: "has no answer to the request",
  },
  {
    feature: "consumers with several filter subjects (filter_subjects)",
    since: "2.10.0",
    otherwise: "refuses the consumer",
  },
  {
    feature: "stream metadata (metadata)",
    since: "2.10.0",
    otherwise: "silently drops it",
  },
  {
    feature: "a publish guard over a wildcard (Nats-Expected-Last-Subject-Sequence-Subject)",
    since: "2.11.0",
    otherwise: "finds nothing under it, so that a task could be placed twice",
  },
  {
    feature: 'streams that are not synced message by message (persist_mode: "async")',
    since: "2.12.0",
    otherwise: "silently ignores it",
  },
];

type Version = readonly [major: number, minor: number, patch: number, release: number];

/** The oldest nats-server that has everything the mesh relies on. */
export const lowestVersion: string = requirements
  .map((requirement) => requirement.since)
  .reduce((highest, since) => (isAtLeast(since, highest) ? since : highest));

/** `version` as nats-server says it ("2.15.1", "v2.12.0-RC.1"). What is no version is not recent enough. */
export function isRecentEnough(version: string): boolean {
  return isAtLeast(version, lowestVersion);
}

/** What to tell a person whose nats-server is too old: what was found, what is needed and why, how to get it. */
export function refusal(version: string): string {
  const missing = requirements.filter((requirement) => !isAtLeast(version, requirement.since));
  return [
    `nats-server ${version} is too old: agent-mesh needs ${lowestVersion} or newer. It lacks:`,
    ...missing.map(
      ({ feature, since, otherwise }) => `  - ${feature}, since ${since}; this server ${otherwise}`,
    ),
    "Install a newer one from https://github.com/nats-io/nats-server/releases and put it on PATH or name it in",
    "NATS_SERVER_BIN, or unset NATS_SERVER_BIN and let agent-mesh fetch one into its own cache.",
  ].join("\n");
}

function isAtLeast(version: string, lowest: string): boolean {
  const found = parse(version);
  const needed = parse(lowest);
  if (found === undefined || needed === undefined) return false;
  for (const [index, part] of needed.entries()) {
    const difference = (found[index] ?? 0) - part;
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** A pre-release comes before its release, as in semver: its last part is 0 and the release's 1. */
function parse(version: string): Version | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?$/.exec(version);
  if (match === null) return undefined;
  return [Number(match[1]), Number(match[2]), Number(match[3]), match[4] === undefined ? 1 : 0];
}
