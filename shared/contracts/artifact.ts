// What an attempt leaves behind, in chunks under its own attempt: it counts only if the manifest in the
// fact that ended the task names it, and a reader checks size and SHA-256 against that.
import { subject } from "./subject.ts";

export const artifactSubject = subject("mesh.artifact.{taskId}.{attempt}.{hostId}.{name}");

/** A patch may be so large; more is no work of a coding agent. */
export const PATCH_MAX_BYTES = 64 * 1_048_576;

/** Payload bytes of one message; the server's limit is 1 MiB. */
export const ARTIFACT_CHUNK_BYTES = 512 * 1024;
