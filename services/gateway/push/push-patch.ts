// Pushes the patch of one succeeded attempt onto its pull request's branch, if that is still where the task began: the
// same commit however often and by whomever it is tried, so that who finds it there already knows that it was pushed.
import { createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { bytesOf, DamagedArtifact } from "../../../shared/bus/artifacts.ts";
import type { Bus } from "../../../shared/bus/connect.ts";
import type { PushGrant } from "../../../shared/config/mesh-config.ts";
import { PATCH_MAX_BYTES } from "../../../shared/contracts/artifact.ts";
import type { AttemptResult } from "../../../shared/contracts/attempt-result.ts";
import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import { type PushOutcome, park } from "../../../shared/contracts/push.ts";
import { objectFormat } from "../../../shared/repository/cache-key.ts";
import { git } from "../../../shared/repository/git.ts";
import { commitPatch } from "./commit.ts";
import { onBase, requestProblem } from "./judge.ts";
import { Remote, TIP } from "./remote.ts";

/** What the counted `succeeded` of a task names, and its request. */
export interface Work {
  taskId: string;
  attempt: number;
  hostId: string;
  request: DeployRequest;
  result: AttemptResult;
  /** Of that fact, by the broker, ms since the epoch. */
  timeMs: number;
}

/** `again`: nothing is decided, since the remote, or the bus, did not answer; `inDoubt`: not even to what was sent. */
export type Tried = PushOutcome | { state: "again"; why: string; inDoubt?: boolean };

const again = (why: string) => ({ state: "again", why }) as const;

export async function pushPatch(
  bus: Bus,
  work: Work,
  grant: PushGrant | null,
  signal: AbortSignal,
): Promise<Tried> {
  const problem = requestProblem(work.request, grant);
  if (problem !== null || grant === null) return problem ?? again("no grant");
  const patch = work.result.artifacts.find(({ name }) => name === "patch");
  if (patch === undefined || patch.size === 0) return park("no-patch", "nothing was changed");
  if (patch.size > PATCH_MAX_BYTES) return park("unsafe", "the patch is too large");
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-push-"));
  try {
    const patchFile = path.join(folder, "patch");
    const bytes = await bytesOf(bus, work, patch);
    if (!bytes.ok) return park("no-artifact", bytes.error.message);
    await pipeline(bytes.value, createWriteStream(patchFile), { signal });
    return await deliver(work, grant, { folder, patchFile, signal });
  } catch (error) {
    if (error instanceof DamagedArtifact) return park("no-artifact", error.message);
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function deliver(
  { request, taskId, attempt, hostId, timeMs }: Work,
  grant: PushGrant,
  { folder, patchFile, signal }: { folder: string; patchFile: string; signal: AbortSignal },
): Promise<Tried> {
  const { branch, sha } = request;
  const remote = new Remote(grant, branch, signal);
  const before = await remote.look();
  if (!before.ok) return again(before.message);
  const { tip, own } = before.seen;
  if (branch === own) return onBase(branch);
  if (tip === null) return park("moved", `there is no branch ${branch} any more`);

  const gitDir = path.join(folder, "git");
  const format = `--object-format=${objectFormat(sha)}`;
  const made = await git(["init", "--quiet", "--bare", "--template=", format, gitDir], { signal });
  if (!made.ok) throw new Error(`no repository could be made: ${made.stderr}`);
  // What was pushed already has the task's commit below it.
  const fetched = await remote.fetch(gitDir, tip === sha ? 1 : 2);
  if (!fetched.ok) return again(fetched.message);
  const ask = async (what: string) =>
    (await git(["--git-dir", gitDir, "rev-parse", "--verify", what])).stdout;
  const there = await ask(TIP);
  const moved = park("moved", `${branch} is at ${there}, and no longer at ${sha}`);
  if (there !== sha && (await ask(`${TIP}^`)) !== sha) return moved;

  const message = `Work of task ${taskId}\n\nMesh-Task: ${taskId}\nMesh-Attempt: ${attempt} on ${hostId}`;
  const patched = { gitDir, patchFile, parent: sha, message, atMs: timeMs, grant, signal };
  const committed = await commitPatch(patched);
  if (signal.aborted) return again("the gateway is stopping");
  if (!committed.ok) return there === sha ? committed.parked : moved;
  const { commit } = committed;
  if (there === commit) return { state: "pushed", sha: commit };
  if (there !== sha) return moved;

  const sent = await remote.push(gitDir, commit, sha);
  // Whatever was heard of it: the branch tells.
  const after = await remote.look();
  if (!after.ok) return { ...again(after.message), inDoubt: true };
  if (after.seen.tip === commit) return { state: "pushed", sha: commit };
  if (after.seen.tip !== sha) return park("moved", `${branch} was moved to ${after.seen.tip} meanwhile`);
  return sent.said ? park("refused", sent.message) : again(sent.message);
}
