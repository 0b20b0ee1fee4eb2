// Builders of facts and requests for tests; what is not given is the ordinary case.
import fc from "fast-check";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import type { Fact, FactBody, FactKind, Malformed } from "../../shared/contracts/fact.ts";
import { SPEAKER_OF } from "../../shared/contracts/fact.ts";
import type { Repository } from "./repository.ts";

export const request = (overrides: Partial<DeployRequest> = {}): DeployRequest => ({
  type: "pr_deployment",
  repository: "acme/shop",
  branch: "feature",
  sha: "a".repeat(40),
  cloneUrl: "https://example.invalid/acme/shop.git",
  ...overrides,
});

/** Of a real repository, and so small that a test's hosts have room for many. */
export const smallRequest = (
  { branch, headSha, url }: Repository,
  overrides: Partial<DeployRequest>,
): DeployRequest =>
  request({
    branch,
    sha: headSha,
    cloneUrl: url,
    resources: { memoryBytes: 1_000_000, cpus: 0.1 },
    ...overrides,
  });

const RESULT = { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts: [] };
const FAILURE = { category: "agent" as const, message: "the command exited 1" };
const ATTEMPT = { attempt: 1, nonce: "n1" };

const BODIES: { [Kind in FactKind]: FactBody<Kind> } = {
  requested: { ...request(), after: 0 },
  started: { after: 0, ...ATTEMPT, installation: "i1", boot: 1, counter: 1 },
  succeeded: { after: 0, ...ATTEMPT, result: RESULT },
  faulted: { after: 0, ...ATTEMPT, failure: FAILURE },
  resumed: { after: 0, ...ATTEMPT },
  requeued: { after: 0, attempt: 1, failures: 1, reason: "retry" },
  deferred: { after: 0, attempt: 1, failures: 1, reason: "retry", delayMs: 0 },
  cancelRequested: { after: 0, reason: "on request" },
  cancelled: { after: 0, attempt: 1, hostId: "h1", nonce: "n1", lost: false, reason: "on request" },
  failed: {
    after: 0,
    attempt: 1,
    hostId: "h1",
    nonce: "n1",
    lost: false,
    failures: 1,
    failure: FAILURE,
    exhausted: false,
  },
  rejected: { after: 0, message: "unreadable" },
};

const DEFAULT_SPEAKER = { host: "h1", control: "control", priority: "normal" };

/** A fact of task t1, at a sequence. */
export function fact<Kind extends FactKind>(
  sequence: number,
  kind: Kind,
  body: Partial<FactBody<Kind>> = {},
  speaker: string = DEFAULT_SPEAKER[SPEAKER_OF[kind]],
): Fact {
  return {
    taskId: "t1",
    kind,
    speaker,
    body: { ...BODIES[kind], ...body },
    sequence,
    timeMs: sequence * 1_000,
  } as Fact;
}

/** Any fact of any speaker, with attempts, hosts and nonces drawn from so few that many fit. */
export const anyFact = fc.record({
  kind: fc.constantFrom(...(Object.keys(BODIES) as FactKind[])),
  attempt: fc.integer({ min: 1, max: 3 }),
  host: fc.constantFrom("h1", "h2"),
  nonce: fc.constantFrom("n1", "n2"),
  behind: fc.constantFrom(0, 0, 0, 1, 5),
  lost: fc.boolean(),
  malformed: fc.constantFrom(false, false, false, false, true),
});
type Drawn = typeof anyFact extends fc.Arbitrary<infer Value> ? Value : never;

/** Puts drawn facts on a log, one sequence after the other; `after` is the truth, or behind it. */
export function numbered(drawn: Drawn[]): (Fact | Malformed)[] {
  return drawn.map(({ kind, attempt, host, nonce, behind, lost, malformed }, index) => {
    const sequence = index + 1;
    const speaker = SPEAKER_OF[kind] === "host" ? host : DEFAULT_SPEAKER[SPEAKER_OF[kind]];
    if (malformed)
      return { taskId: "t1", kind, speaker, body: null, problem: "drawn so", sequence, timeMs: sequence };
    const reason = kind === "requeued" || kind === "deferred" ? { reason: lost ? "lost" : "retry" } : {};
    const named = kind === "cancelled" || kind === "failed" ? { hostId: host } : {};
    const made = fact(sequence, kind, {}, speaker);
    Object.assign(made.body, {
      after: Math.max(0, sequence - 1 - behind),
      ...("attempt" in made.body ? { attempt } : {}),
      ...("nonce" in made.body ? { nonce } : {}),
      ...("lost" in made.body ? { lost } : {}),
      ...reason,
      ...named,
    });
    return made;
  });
}
