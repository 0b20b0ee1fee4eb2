// Real git repositories for tests: a bare origin with a main branch, a pull request's branch and its ref.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

export interface Repository extends Disposable {
  url: string;
  path: string;
  baseSha: string;
  headSha: string;
  branch: string;
  /** Commits files on top of the branch (or on `from`) and pushes them; the new commit's SHA. */
  commit(files: Record<string, string>, options?: { branch?: string; from?: string }): string;
  git(...args: string[]): string;
}

const IDENTITY = { name: "Test", email: "test@example.invalid" };

export function makeRepository(
  options: {
    files?: Record<string, string>;
    prFiles?: Record<string, string>;
    branch?: string;
    prNumber?: number;
    objectFormat?: "sha1" | "sha256";
  } = {},
): Repository {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-repository-"));
  const work = path.join(folder, "work");
  const origin = path.join(folder, "origin.git");
  const branch = options.branch ?? "feature";
  const prNumber = options.prNumber ?? 7;
  mkdirSync(work);
  const run = (cwd: string, args: string[]) =>
    execFileSync(
      "git",
      [
        "-c",
        `user.name=${IDENTITY.name}`,
        "-c",
        `user.email=${IDENTITY.email}`,
        "-c",
        "protocol.file.allow=always",
        ...args,
      ],
      {
        cwd,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      },
    ).trim();
  const git = (...args: string[]) => run(work, args);
  const write = (files: Record<string, string>) => {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(work, name)), { recursive: true });
      writeFileSync(path.join(work, name), text);
    }
  };
  const commitAll = (message: string) => {
    git("add", "-A");
    git("commit", "-q", "--allow-empty", "-m", message);
    return git("rev-parse", "HEAD");
  };
  const format = `--object-format=${options.objectFormat ?? "sha1"}`;
  run(folder, ["init", "-q", "--bare", "-b", "main", format, origin]);
  git("init", "-q", "-b", "main", format);
  git("remote", "add", "origin", origin);
  write(options.files ?? { "README.md": "# Shop\n", "src/sum.sh": "echo $(($1 - $2))\n" });
  const baseSha = commitAll("Begin");
  git("push", "-q", "origin", "main");
  git("checkout", "-q", "-b", branch);
  write(options.prFiles ?? { "feature.txt": "new\n" });
  const headSha = commitAll("Add the feature");
  git("push", "-q", "origin", branch, `HEAD:refs/pull/${prNumber}/head`);
  return {
    url: pathToFileURL(origin).href,
    path: origin,
    baseSha,
    headSha,
    branch,
    commit(files, { branch: on = branch, from } = {}) {
      git("checkout", "-q", "-B", on, ...(from === undefined ? [] : [from]));
      write(files);
      const sha = commitAll("Go on");
      git("push", "-q", "-f", "origin", on, `HEAD:refs/pull/${prNumber}/head`);
      return sha;
    },
    git,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
