// What became of a task's patch that was to be pushed onto its pull request's branch: said once, by a gateway, and
// never changed. It lies apart from the facts, since a task has ended by then and an end never changes.
import { z } from "zod";
import { HostId } from "./ids.ts";
import { subject } from "./subject.ts";

export const pushSubject = subject("mesh.push.{taskId}");

/**
 * Why a patch was not pushed. `not-granted` the gateways may not push there · `fork` · `base-branch` it is the branch
 * that others are merged into · `no-patch` nothing was changed · `no-artifact` the patch is no longer kept, or is not
 * what the manifest says · `does-not-apply` · `unsafe` a link out of the tree, a submodule, a path of git's own ·
 * `workflows` it changes what the forge runs by itself · `large-files` Git LFS · `moved` the branch is no longer at the
 * task's commit · `refused` by the forge · `unreachable` for too long: where a push may have arrived all the same, the
 * message says so
 */
type ParkedCode =
  | "not-granted"
  | "fork"
  | "base-branch"
  | "no-patch"
  | "no-artifact"
  | "does-not-apply"
  | "unsafe"
  | "workflows"
  | "large-files"
  | "moved"
  | "refused"
  | "unreachable";

const pushed = { state: z.literal("pushed"), sha: z.string() };
/** `code` is a `ParkedCode`, or one that only a newer gateway knows. */
const parked = { state: z.literal("parked"), code: z.string(), message: z.string() };
const of = { attempt: z.int().positive(), hostId: HostId, branch: z.string() };

export type PushOutcome =
  | { state: "pushed"; sha: string }
  | { state: "parked"; code: ParkedCode; message: string };

export const PushRecord = z.discriminatedUnion("state", [
  z.object({ ...pushed, ...of }),
  z.object({ ...parked, ...of }),
]);
export type PushRecord = z.infer<typeof PushRecord>;

/** Of a task that asked for it; `wanted` until it is known. `pusher`: once it has succeeded, whether any gateway pushes now. */
export const PushView = z.discriminatedUnion("state", [
  z.object({ state: z.literal("wanted"), pusher: z.boolean().optional() }),
  z.object({ ...pushed, at: z.iso.datetime() }),
  z.object({ ...parked, at: z.iso.datetime() }),
]);
export type PushView = z.infer<typeof PushView>;

export const park = (code: ParkedCode, message: string): PushOutcome => ({ state: "parked", code, message });
