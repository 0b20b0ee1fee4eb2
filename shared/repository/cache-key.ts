// The name under which a host keeps a repository's cache, and by which the scheduler looks for a host that has it.
import { createHash } from "node:crypto";

/** A repository has one kind of object name, and a commit's name tells which. */
export const objectFormat = (sha: string): "sha1" | "sha256" => (sha.length === 64 ? "sha256" : "sha1");

/** 16 hex digits. */
export const cacheKey = (cloneUrl: string, sha: string): string =>
  createHash("sha256")
    .update(`${objectFormat(sha)} ${cloneUrl}`)
    .digest("hex")
    .slice(0, 16);
