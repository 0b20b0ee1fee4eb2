// Bare caches of the repositories this host has seen, one per clone URL. Fetching is done here, outside every
// instance; one attempt at a time has a cache, and one that has come to harm is made anew. No tree may need a cache
// once it is made.
import { mkdir, readdir, rm, stat, utimes } from "node:fs/promises";
import path from "node:path";
import { cacheKey, objectFormat } from "../../../shared/repository/cache-key.ts";
import { type GitOptions, git } from "../../../shared/repository/git.ts";
import { cachesToDrop, forgetCache, keptCaches } from "./cache-room.ts";
import { diskOf } from "./disk.ts";

export interface Source {
  cloneUrl: string;
  branch: string;
  sha: string;
  prNumber?: number;
  baseBranch?: string;
  /** A stranger wrote it: what it names besides its own repository is fetched as anybody could. */
  isStrangers?: boolean;
}

type Fetching = Pick<GitOptions, "allowFileClones" | "signal">;

/** `permanent`: the repository was reached, and has no such commit. */
type NotFetched = { ok: false; permanent: boolean; message: string };

const turns = new Map<string, Promise<void>>();

/**
 * Has the exact commit in the cache, keeps it there whatever is pushed over it, and lends the cache to `use`:
 * until that is done nobody else changes it. `use` gives null for a cache that lacks some of the commit: then it is
 * made anew, once.
 */
export async function withCommit<Used extends object>(
  cacheDir: string,
  source: Source,
  options: Fetching,
  use: (cache: string) => Promise<Used | null>,
): Promise<{ ok: true; used: Used | null } | NotFetched> {
  const cache = path.join(cacheDir, nameOf(source));
  const lend = async () => {
    const fetched = await fetchInto(cache, source, options);
    return fetched.ok ? { ok: true as const, used: await use(cache) } : fetched;
  };
  const lent = await inTurn(cache, options.signal, async () => {
    await clearAway(cache);
    const first = await lend();
    const now = new Date();
    await utimes(path.join(cache, "HEAD"), now, now).catch(() => {});
    if (!first.ok || first.used !== null || options.signal?.aborted) return first;
    await discard(cache);
    return lend();
  });
  await makeRoom(cacheDir);
  return lent ?? { ok: false, permanent: false, message: `${source.cloneUrl} was not fetched in time` };
}

/** One at a time for each cache; null if the signal spoke before the turn came. */
async function inTurn<Value>(
  cache: string,
  signal: AbortSignal | undefined,
  work: () => Promise<Value>,
): Promise<Value | null> {
  const before = turns.get(cache) ?? Promise.resolve();
  const mine = Promise.withResolvers<void>();
  const mineIsOver = before.then(() => mine.promise);
  turns.set(cache, mineIsOver);
  void mineIsOver.then(() => {
    if (turns.get(cache) === mineIsOver) turns.delete(cache);
  });
  try {
    await Promise.race([before, abortionOf(signal)]);
    return signal?.aborted ? null : await work();
  } finally {
    mine.resolve();
  }
}

const abortionOf = (signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) resolve();
    signal?.addEventListener("abort", () => resolve(), { once: true });
  });

/** What a git that was killed has left: half of a pack, of any size, and locks that nobody will open. */
async function clearAway(cache: string): Promise<void> {
  const left = [];
  for (const [folder, pattern] of [
    ["objects/pack", /^tmp_/],
    ["objects", /^tmp_objdir/],
    ["refs/mesh", /\.lock$/],
    [".", /\.lock$/],
  ] as const) {
    const names = await readdir(path.join(cache, folder), { recursive: folder === "refs/mesh" }).catch(
      () => [],
    );
    left.push(...names.filter((name) => pattern.test(name)).map((name) => path.join(cache, folder, name)));
  }
  await Promise.all(left.map((file) => rm(file, { recursive: true, force: true })));
}

/** What caches have beyond their room goes; whoever has a cache, or waits for one, keeps it. */
export async function makeRoom(cacheDir: string): Promise<void> {
  const caches = await keptCaches(cacheDir);
  if (caches.length === 0) return;
  const disk = await diskOf(cacheDir);
  for (const { folder } of cachesToDrop(caches, disk))
    if (!turns.has(folder)) await inTurn(folder, undefined, () => discard(folder));
}

async function discard(cache: string): Promise<void> {
  forgetCache(cache);
  await rm(cache, { recursive: true, force: true });
}

const nameOf = ({ cloneUrl, sha }: Source): string => {
  const slug = cloneUrl
    .replace(/^.*?:\/\//, "")
    .replaceAll(/[^A-Za-z0-9]+/g, "-")
    .slice(-40);
  return `${slug}-${cacheKey(cloneUrl, sha)}.git`;
};

/** The keys of the caches that are here. */
export const cachesIn = async (cacheDir: string): Promise<string[]> =>
  (await readdir(cacheDir).catch(() => []))
    .flatMap((name) => /-([0-9a-f]{16})\.git$/.exec(name)?.[1] ?? [])
    .toSorted();

async function fetchInto(
  cache: string,
  source: Source,
  options: Fetching,
): Promise<{ ok: true } | NotFetched> {
  const isNew = !(await exists(path.join(cache, "HEAD")));
  const first = await attemptFetch(cache, source, options);
  if (first.ok || isNew || options.signal?.aborted) return told(first, source);
  if (!(await isToBlame(cache, first, source, options))) return told(first, source);
  await discard(cache);
  return told(await attemptFetch(cache, source, options), source);
}

/** A damaged cache takes what it lacks for present, and fails where the remote would not. */
async function isToBlame(
  cache: string,
  { reached }: { reached: boolean },
  { cloneUrl }: Source,
  options: Fetching,
): Promise<boolean> {
  if (reached) return !(await git(["--git-dir", cache, "fsck", "--connectivity-only"], options)).ok;
  return (await git(["ls-remote", "--heads", "--", cloneUrl], { ...options, timeoutMs: 120_000 })).ok;
}

type Attempted = { ok: true } | { ok: false; reached: boolean; message: string };

async function attemptFetch(cache: string, source: Source, options: Fetching): Promise<Attempted> {
  const { cloneUrl, sha, prNumber } = source;
  const inCache = (args: string[]) => git(["--git-dir", cache, ...args], options);
  if (!(await exists(path.join(cache, "HEAD")))) {
    await mkdir(cache, { recursive: true });
    const format = `--object-format=${objectFormat(sha)}`;
    const made = await git(["init", "--quiet", "--bare", format, cache], options);
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
  if (prNumber === undefined) return { ok: false, reached: true, message: "" };
  // With a wildcard, a pull request that is not there is no failure, and a failure is the network's.
  const pull = await fetch([`+refs/pull/${prNumber}/*:refs/mesh/pr/${prNumber}/*`]);
  if (await isThere()) return keep();
  return { ok: false, reached: pull.ok, message: pull.stderr };
}

/** Where the commit is found in its cache. */
export const keptRef = (sha: string): string => `refs/mesh/keep/${sha}`;

function told(attempted: Attempted, { cloneUrl, sha }: Source): { ok: true } | NotFetched {
  if (attempted.ok) return attempted;
  if (attempted.reached) return { ok: false, permanent: true, message: `${cloneUrl} has no commit ${sha}` };
  const why = attempted.message.trim();
  return { ok: false, permanent: false, message: `${cloneUrl} cannot be fetched: ${why || "git was ended"}` };
}

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );
