// The branch that is pushed to, as its remote has it: where it is, what it holds, and a push onto exactly what was seen.
import type { PushGrant } from "../../../shared/config/mesh-config.ts";
import { shellWord } from "../../../shared/process/shell-word.ts";
import { type GitResult, git } from "../../../shared/repository/git.ts";

const LOOK_MS = 60_000;
const FETCH_MS = 600_000;
const PUSH_MS = 300_000;

export interface Seen {
  /** Null if there is no such branch. */
  tip: string | null;
  /** The branch that the remote calls its own. */
  own: string | null;
}

/** `said`: the remote has answered, whatever it was. */
export type Sent = { said: boolean; message: string };

/** Where a branch is pushed to; `gitDir` is a bare repository of the push's own. */
export class Remote {
  readonly #grant: PushGrant;
  readonly #branch: string;
  readonly #signal: AbortSignal;

  constructor(grant: PushGrant, branch: string, signal: AbortSignal) {
    this.#grant = grant;
    this.#branch = branch;
    this.#signal = signal;
  }

  async look(): Promise<{ ok: true; seen: Seen } | { ok: false; message: string }> {
    const ref = this.#ref;
    const listed = await this.#git(["ls-remote", "--symref", "--", this.#grant.url, "HEAD", ref], LOOK_MS);
    if (!listed.ok) return { ok: false, message: complaint(listed) };
    const lines = listed.stdout.split("\n").map((line) => line.split("\t"));
    const own = lines.find(([what = "", name]) => name === "HEAD" && what.startsWith("ref: "))?.[0];
    const tip = lines.find(([, name]) => name === ref)?.[0] ?? null;
    return { ok: true, seen: { tip, own: own?.slice("ref: refs/heads/".length) ?? null } };
  }

  /** The branch's latest commits into the repository, as `refs/heads/tip`. */
  async fetch(gitDir: string, depth: number): Promise<{ ok: boolean; message: string }> {
    const quietly = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
    const fetched = await this.#git(
      [
        "--git-dir",
        gitDir,
        "fetch",
        ...quietly,
        `--depth=${depth}`,
        "--",
        this.#grant.url,
        `+${this.#ref}:${TIP}`,
      ],
      FETCH_MS,
    );
    return { ok: fetched.ok, message: complaint(fetched) };
  }

  /** Only if the branch is still at `expected`: the remote compares, whatever was seen before. */
  async push(gitDir: string, commit: string, expected: string): Promise<Sent> {
    const plainly = [
      "--porcelain",
      "--no-verify",
      "--no-signed",
      "--no-follow-tags",
      "--recurse-submodules=no",
    ];
    const pushed = await this.#git(
      [
        ...["--git-dir", gitDir, "push", ...plainly, `--force-with-lease=${this.#ref}:${expected}`],
        ...["--", this.#grant.url, `${commit}:${this.#ref}`],
      ],
      PUSH_MS,
    );
    // Its answer about each branch begins with a mark, and `!` is that of a refusal.
    const refused = pushed.stdout.split("\n").find((line) => line.startsWith("!\t"));
    return { said: pushed.ok || refused !== undefined, message: refused?.slice(2) ?? complaint(pushed) };
  }

  get #ref(): string {
    return `refs/heads/${this.#branch}`;
  }

  #git(args: string[], timeoutMs: number): Promise<GitResult> {
    const { url, credentials } = this.#grant;
    // git has a shell read the helper.
    const helper =
      credentials === undefined
        ? []
        : ["-c", "credential.helper=", "-c", `credential.helper=store --file=${shellWord(credentials)}`];
    const allowFileClones = url.startsWith("file:");
    return git([...helper, ...args], { allowFileClones, signal: this.#signal, timeoutMs });
  }
}

export const TIP = "refs/heads/tip";

const complaint = ({ stderr }: GitResult): string => stderr.trim() || "git was ended";
