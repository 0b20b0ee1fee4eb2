// A Python with nats-py, by pip and kept in the user's cache, so that it is there without the internet once it has been
// fetched. Where neither can be had the test that wants it is skipped, which is said aloud.
import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { defaultCacheDir } from "../../shared/nats-server/cache.ts";

const NATS_PY = "2.16.0";

export interface Python {
  program: string;
  /** `PYTHONPATH` with nats-py in it. */
  modules: string;
}

/** Null where there is no Python, or where pip cannot get nats-py. */
export async function findPython(): Promise<Python | null> {
  const failures: string[] = [];
  for (const program of ["python3", "python"]) {
    try {
      return { program, modules: await natsPy(program) };
    } catch (error) {
      failures.push(`${program}: ${String(error).trim().split("\n").at(-1)}`);
    }
  }
  console.warn(`SKIPPED: a client in Python cannot be tried here. ${failures.join("; ")}`);
  return null;
}

async function natsPy(program: string): Promise<string> {
  const cache = defaultCacheDir();
  const modules = path.join(cache, `nats-py-${NATS_PY}`);
  await promisify(execFile)(program, ["--version"]);
  if (await exists(modules)) return modules;
  await mkdir(cache, { recursive: true, mode: 0o700 });
  const fetching = await mkdtemp(path.join(cache, "fetching-"));
  try {
    const quick = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "10"];
    const wanted = ["--no-deps", "--only-binary", ":all:", "--target", fetching, `nats-py==${NATS_PY}`];
    await promisify(execFile)(program, ["-m", "pip", "install", ...quick, ...wanted]);
    // Somebody else may have been quicker, with the same.
    await rename(fetching, modules).catch(async (error: unknown) => {
      if (!(await exists(modules))) throw error;
    });
  } finally {
    await rm(fetching, { recursive: true, force: true });
  }
  return modules;
}

const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );
