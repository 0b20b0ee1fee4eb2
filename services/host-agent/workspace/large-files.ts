// Git LFS: a commit's large files, fetched outside the instance with the machine's credentials into the cache, and
// from there into the tree's own `.git`. A file whose content is not what its name says never gets that far.
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { lstat, mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline/promises";
import { pipeline } from "node:stream/promises";
import type { GitResult } from "../../../shared/repository/git.ts";

type Git = (args: string[]) => Promise<GitResult>;

/** For a git that is not to ask LFS, whatever this machine's own configuration says. */
export const NO_LFS_FILTER = [
  "filter.lfs.smudge=",
  "filter.lfs.process=",
  "filter.lfs.required=false",
].flatMap((pair) => ["-c", pair]);

/** Does the commit in the index keep files in LFS? */
export const usesLargeFiles = async (own: Git): Promise<boolean> =>
  (await own(["grep", "--quiet", "--cached", "-e", "filter=lfs", "--", ":(glob)**/.gitattributes"])).ok;

/**
 * Where a stranger's large files are fetched from: what the base branch says, or else the remote itself. The
 * `.lfsconfig` of a pull request could name any server, for this machine to ask with its credentials.
 */
export async function ownStore(inCache: Git, base: string | null, cloneUrl: string): Promise<string> {
  const asked = ["config", "--blob", `${base}:.lfsconfig`, "--get", "lfs.url"];
  const said = base === null ? "" : (await inCache(asked)).stdout.trim();
  if (said !== "" || !/^https?:/i.test(cloneUrl)) return said || cloneUrl;
  return `${cloneUrl.replace(/\/+$/, "").replace(/\.git$/, "")}.git/info/lfs`;
}

/** `inTree` is git with the tree's own `.git`. Null if all that the commit wants is there. */
export async function fetchLargeFiles(
  inTree: Git,
  cache: string,
  treeGitDir: string,
): Promise<{ category: "source" | "setup" | "host"; message: string } | null> {
  if (!(await inTree(["lfs", "version"])).ok)
    return {
      category: "setup",
      message: "the repository uses Git LFS, which this host lacks: install git-lfs there",
    };
  const shared = path.join(cache, "lfs");
  const own = path.join(treeGitDir, "lfs");
  // A second time for those that turned out damaged.
  for (const lastTry of [false, true]) {
    // In its file and not by -c, which a remote on this disk would hear too.
    await inTree(["config", "lfs.storage", shared]);
    const fetched = await inTree(["lfs", "fetch", "origin"]);
    await inTree(["config", "--unset", "lfs.storage"]);
    if (!fetched.ok) return { category: "source", message: inWords(fetched) };
    const listed = await inTree(["lfs", "ls-files", "--long"]);
    if (!listed.ok) return { category: "host", message: inWords(listed) };
    let damaged = 0;
    for (const [, sha256 = ""] of listed.stdout.matchAll(/^([0-9a-f]{64}) [-*] /gm))
      if ((await take(shared, own, sha256)) === "damaged") damaged++;
    if (damaged === 0) break;
    if (lastTry) return { category: "host", message: `${damaged} large files came damaged` };
  }
  const checkedOut = await inTree(["lfs", "checkout"]);
  return checkedOut.ok ? null : { category: "host", message: inWords(checkedOut) };
}

const NAMED = /^\+oid sha256:([0-9a-f]{64})$/m;

/** The patch has files of LFS in it, which it only names. */
export const namesLargeFiles = (patch: Buffer): boolean => NAMED.test(patch.toString("latin1"));

/**
 * Takes the large files that a patch names into a tree's store; the settings under which git then writes them out.
 * What the work did not leave, or left as something else, stays the pointer that the patch has.
 */
export async function takeChangedFiles(
  patch: { file: string; gitDir: string },
  store: string,
): Promise<{ config: string[]; env: Record<string, string> }> {
  const named = new Set<string>();
  for await (const line of createInterface({ input: createReadStream(patch.file, "latin1") })) {
    const [, sha256] = NAMED.exec(line) ?? [];
    if (sha256 !== undefined) named.add(sha256);
  }
  if (named.size === 0) return { config: [], env: {} };
  for (const sha256 of named) await take(path.join(patch.gitDir, "lfs"), store, sha256);
  const settings = {
    "lfs.storage": store,
    "filter.lfs.smudge": "git-lfs smudge -- %f",
    "filter.lfs.process": "git-lfs filter-process",
  };
  return {
    config: Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    env: { GIT_LFS_SKIP_SMUDGE: "0", GIT_LFS_SKIP_DOWNLOAD_ERRORS: "1" },
  };
}

const inWords = ({ stderr }: GitResult): string => stderr.trim() || "git was ended";

/** Copies one file between two stores of LFS. A damaged one is deleted where it lay, to be fetched again. */
async function take(from: string, to: string, sha256: string): Promise<"taken" | "absent" | "damaged"> {
  const place = path.join("objects", sha256.slice(0, 2), sha256.slice(2, 4), sha256);
  const [source, target] = [path.join(from, place), path.join(to, place)];
  await mkdir(path.dirname(target), { recursive: true });
  const hash = createHash("sha256");
  try {
    // Anything else, such as a pipe, may have been put there to be waited for.
    if (!(await lstat(source)).isFile()) return "absent";
    await pipeline(
      createReadStream(source),
      async function* (bytes: AsyncIterable<Buffer>) {
        for await (const chunk of bytes) {
          hash.update(chunk);
          yield chunk;
        }
      },
      createWriteStream(target),
    );
  } catch (error) {
    // A repository may say in .lfsconfig that some files are not to be fetched.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "absent";
    throw error;
  }
  if (hash.digest("hex") === sha256) return "taken";
  await Promise.all([source, target].map((file) => rm(file, { force: true })));
  return "damaged";
}
