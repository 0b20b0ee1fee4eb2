// The rules of the protocol that a run keeps, and its mutants: each takes one rule out, and has to be caught.
import type { FactKind } from "../../shared/contracts/fact.ts";

export interface Rules {
  /** Which facts the server guards. */
  guards(kind: FactKind): boolean;
  /** Of the tracker's patience, beyond the lease, ms. */
  marginMs: number;
  /** What renews a lease: the stamp that travelled, the moment of the answer, or nothing is needed. */
  lease: "stamp" | "receipt" | "for ever";
  /** The supervisor freezes what runs without a lease. */
  freezes: boolean;
  /** Only the stretch of lease under which `started` or `resumed` was said lets a tree run. */
  stretches: boolean;
  /** What was frozen runs on only after a `resumed`. */
  resumes: boolean;
  /** The tree runs only once its `started` is on the log. */
  waitsForStarted: boolean;
  /** The leader of HOSTS is asked before a host is called silent. */
  finalRead: boolean;
  /** Nobody is called silent before the tracker has followed for a full grace period. */
  grace: boolean;
  /** `started` names the heartbeat that it came after. */
  namesHeartbeat: boolean;
  /** An attempt is listed in heartbeats from before its `started` is sent. */
  listsAll: boolean;
  /** A new life ends what the former left before it says a word, and a dead agent's supervisor ends its trees. */
  endsFormerLife: boolean;
  /** The supervisor's clock counts sleep and jumps. */
  countsSleep: boolean;
  purge: "before the end" | "the end too" | "nothing";
  /** `cancelled` is said only once no attempt is active. */
  waitsForTheTree: boolean;
  /** What has ended while cut off is kept on disk. */
  keepsFinished: boolean;
  /** Killing a supervisor kills its trees. */
  dieTogether: boolean;
}

export const RULES_AS_DESIGNED: Rules = {
  guards: () => true,
  marginMs: 3_000,
  lease: "stamp",
  freezes: true,
  stretches: true,
  resumes: true,
  waitsForStarted: true,
  finalRead: true,
  grace: true,
  namesHeartbeat: true,
  listsAll: true,
  endsFormerLife: true,
  countsSleep: true,
  purge: "before the end",
  waitsForTheTree: true,
  keepsFinished: true,
  dieTogether: true,
};

export interface Mutant {
  rules: Partial<Rules>;
  /** Odd choices that have to come together for it to show: made more often, so that it shows soon. */
  often?: string[];
}

export const MUTANTS: Record<string, Mutant> = {
  "no guard": { rules: { guards: () => false } },
  "only requests are guarded": { rules: { guards: (kind) => kind === "requested" } },
  "`resumed` is not guarded": { rules: { guards: (kind) => kind !== "resumed" } },
  "hardly a margin": { rules: { marginMs: 251 }, often: ["late check"] },
  "lease counted from the receipt of its answer": { rules: { lease: "receipt" }, often: ["slow answers"] },
  "no lease": { rules: { lease: "for ever" } },
  "no freeze": { rules: { freezes: false } },
  "any stretch of lease will do": { rules: { stretches: false } },
  "no `resumed` after a silence": { rules: { resumes: false } },
  "runs before `started` is on the log": { rules: { waitsForStarted: false } },
  "no last look at the heartbeats": { rules: { finalRead: false }, often: ["lag hosts"] },
  "no grace after a reconnect": { rules: { grace: false } },
  "any heartbeat tells of an absence": { rules: { namesHeartbeat: false } },
  "lists only what runs": { rules: { listsAll: false } },
  "a former life goes on": { rules: { endsFormerLife: false } },
  "a clock that stands still in sleep": { rules: { countsSleep: false }, often: ["sleep"] },
  "purge takes the end along": { rules: { purge: "the end too" } },
  "cancelled at once": { rules: { waitsForTheTree: false } },
  "trees outlive their supervisor": { rules: { dieTogether: false } },
};
