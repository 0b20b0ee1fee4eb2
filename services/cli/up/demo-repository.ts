// The repository that `mesh demo` works on: a small project with a bug, and a pull request whose new test shows it.
// Needs only git and sh, and must never read the user's git configuration.
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { devNull } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { Failure } from "../outcome.ts";

export interface DemoRepository {
  cloneUrl: string;
  branch: string;
  sha: string;
  prNumber: number;
}

const PRICE = `#!/bin/sh
# Price of an order in cents: price.sh UNIT_PRICE QUANTITY. Ten pieces and more are 10 % cheaper.
unit=$1
quantity=$2
total=$((unit * quantity))
if [ "$quantity" -gt 10 ]; then
  total=$((total - total / 10))
fi
echo "$total"
`;

const TEST_BEFORE = `#!/bin/sh
failed=0
expect() {
  got=$(sh ./price.sh "$1" "$2")
  if [ "$got" = "$3" ]; then
    echo "ok    $2 pieces at $1 cost $got"
  else
    echo "FAIL  $2 pieces at $1: expected $3, got $got"
    failed=1
  fi
}
expect 250 1 250
expect 250 4 1000
expect 250 20 4500
`;
const TEST_AFTER = "expect 250 10 2250\n";
const TEST_END = "exit $failed\n";

/** What the "agent" does: looks at the failing test, mends the cause, looks again. */
export const DEMO_COMMAND = [
  "echo 'Running the tests of the pull request:'",
  "sh ./test.sh || echo 'One fails: the discount should begin at ten pieces, not after.'",
  "sleep 1",
  "sed 's/-gt 10/-ge 10/' price.sh > price.new && mv price.new price.sh",
  "echo 'Mended price.sh; running them again:'",
  "sh ./test.sh",
].join("\n");

export const DEMO_CHECK = "sh ./test.sh";

export async function makeDemoRepository(folder: string): Promise<DemoRepository> {
  const work = path.join(folder, "work");
  const origin = path.join(folder, "acme", "shop.git");
  const branch = "discount-from-ten";
  await mkdir(work, { recursive: true });
  const git = gitIn(work);
  await git("init", "--quiet", "--initial-branch=main");
  await writeFile(path.join(work, "price.sh"), PRICE);
  await writeFile(path.join(work, "test.sh"), TEST_BEFORE + TEST_END);
  await git("add", ".");
  await git("commit", "--quiet", "--message", "Compute prices, with a discount for many pieces");
  await git("switch", "--quiet", "--create", branch);
  await writeFile(path.join(work, "test.sh"), TEST_BEFORE + TEST_AFTER + TEST_END);
  await git("commit", "--quiet", "--all", "--message", "Test that the discount begins at ten pieces");
  const sha = (await git("rev-parse", "HEAD")).trim();
  await git("clone", "--quiet", "--bare", work, origin);
  // As a forge keeps a pull request's head.
  await gitIn(origin)("update-ref", "refs/pull/7/head", sha);
  return { cloneUrl: pathToFileURL(origin).href, branch, sha, prNumber: 7 };
}

function gitIn(folder: string): (...args: string[]) => Promise<string> {
  const identity = { GIT_AUTHOR_NAME: "Ada", GIT_AUTHOR_EMAIL: "ada@example.com" };
  const committer = { GIT_COMMITTER_NAME: "Ada", GIT_COMMITTER_EMAIL: "ada@example.com" };
  const settings = { GIT_CONFIG_GLOBAL: devNull, GIT_CONFIG_NOSYSTEM: "1", GIT_TERMINAL_PROMPT: "0" };
  // Where git itself has started us, such as from a hook, its variables name another repository.
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("GIT_")),
  );
  const env = { ...inherited, ...identity, ...committer, ...settings };
  return async (...args) => {
    try {
      return (await promisify(execFile)("git", args, { cwd: folder, env })).stdout;
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
      throw new Failure("git is not on PATH: hosts fetch with it; install it");
    }
  };
}
