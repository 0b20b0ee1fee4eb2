// Bare caches of the repositories this host has seen, one per clone URL. Fetching is done here, outside every
// instance; one fetch at a time per cache, and a cache that has come to harm is made anew.
import { createHash } from "node:crypto";
import { mkdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import { type GitOptions, git } from "./git.ts";

export interface Source {
  cloneUrl: string;
  branch: string;
  sha: string;
  prNumber?: number;
}

export type Fetched =
  | { ok: true; cache: string }
  /** `permanent`: the repository was reached, and has no such commit. */
  | { ok: false; permanent: boolean; message: string };

type Fetching = Pick<GitOptions, "allowFileClones" | "signal">;

const queues = new Map<string, Promise<unknown>>();

/** Has the exact commit in the cache, and keeps it there whatever is pushed over it. */
export function fetchCommit(cacheDir: string, source: Source, options: Fetching): Promise<Fetched> {
  const cache = path.join(cacheDir, nameOf(source.cloneUrl));
  const before = queues.get(cache) ?? Promise.resolve();
  const mine = before.then(() => fetchInto(cache, source, options));
  const settled = mine.catch(() => {});
  queues.set(cache, settled);
  void settled.then(() => {
    if (queues.get(cache) === settled) queues.delete(cache);
  });
  return mine;
}

/** Deletes a cache that gives no whole tree; the next fetch makes it anew. */
export const discardCache = (cache: string): Promise<void> => rm(cache, { recursive: true, force: true });

const nameOf = (cloneUrl: string): string => {
  const slug = cloneUrl
    .replace(/^.*?:\/\//, "")
    .replaceAll(/[^A-Za-z0-9]+/g, "-")
    .slice(-40);
  return `${slug}-${createHash("sha256").update(cloneUrl).digest("hex").slice(0, 16)}.git`;
};

async function fetchInto(cache: string, source: Source, options: Fetching): Promise<Fetched> {
  const isNew = !(await exists(path.join(cache, "HEAD")));
  const first = await attemptFetch(cache, source, options);
  if (first.ok || first.reached || isNew || options.signal?.aborted) return told(first, cache, source);
  // Is it the network, or the cache?
  const remote = await git(["ls-remote", "--heads", "--", source.cloneUrl], {
    ...options,
    timeoutMs: 120_000,
  });
  if (!remote.ok) return told(first, cache, source);
  await discardCache(cache);
  return told(await attemptFetch(cache, source, options), cache, source);
}

type Attempted = { ok: true } | { ok: false; reached: boolean; message: string };

async function attemptFetch(cache: string, source: Source, options: Fetching): Promise<Attempted> {
  const { cloneUrl, sha, prNumber } = source;
  const inCache = (args: string[]) => git(["--git-dir", cache, ...args], options);
  if (!(await exists(path.join(cache, "HEAD")))) {
    await mkdir(cache, { recursive: true });
    const made = await git(["init", "--quiet", "--bare", cache], options);
    if (!made.ok) return { ok: false, reached: false, message: made.stderr };
  }
  const isThere = async () => (await inCache(["cat-file", "-e", `${sha}^{commit}`])).ok && isCommit();
  const isCommit = async () => (await inCache(["cat-file", "-t", sha])).stdout === "commit";
  const keep = async (): Promise<Attempted> => {
    const kept = await inCache(["update-ref", keptRef(sha), sha]);
    return kept.ok ? { ok: true } : { ok: false, reached: false, message: kept.stderr };
  };
  if (await isThere()) return keep();
  const fetch = (refspecs: string[]) =>
    inCache([
      "fetch",
      "--quiet",
      "--no-tags",
      "--no-write-fetch-head",
      "--force",
      "--",
      cloneUrl,
      ...refspecs,
    ]);
  await fetch([`${sha}:${keptRef(sha)}`]);
  if (await isThere()) return { ok: true };
  // A server that gives only what it names: everything it names, then.
  const heads = await fetch(["+refs/heads/*:refs/mesh/heads/*"]);
  if (await isThere()) return keep();
  if (!heads.ok) return { ok: false, reached: false, message: heads.stderr };
  if (prNumber !== undefined) await fetch([`+refs/pull/${prNumber}/head:refs/mesh/pr/${prNumber}`]);
  if (await isThere()) return keep();
  return { ok: false, reached: true, message: "" };
}

const keptRef = (sha: string): string => `refs/mesh/keep/${sha}`;

function told(attempted: Attempted, cache: string, { cloneUrl, sha }: Source): Fetched {
  if (attempted.ok) return { ok: true, cache };
  if (attempted.reached) return { ok: false, permanent: true, message: `${cloneUrl} has no commit ${sha}` };
  const why = attempted.message.trim();
  return { ok: false, permanent: false, message: `${cloneUrl} cannot be fetched: ${why || "git was ended"}` };
}

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );
