// What `--repo` says: where to clone from, and the repository's name. Pure; whether a URL may be cloned is judged by
// the request's schema and by the host.
import path from "node:path";
import { pathToFileURL } from "node:url";

export interface NamedRepository {
  repository: string;
  cloneUrl: string;
}

const SHORT = /^[\w.-]+\/[\w.-]+$/;
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
const SCP_LIKE = /^(?:[^@/\s]+@)?([^:/\s]+):(?!\/\/)(.+)$/;

/** `owner/name` is GitHub's; anything else is a URL, `user@host:path`, or a local path. Null when it is nothing of it. */
export function parseRepository(text: string, workingDir: string = process.cwd()): NamedRepository | null {
  const given = text.trim();
  if (given === "") return null;
  if (/^\.{1,2}(\/|$)|^\//.test(given) || (path.win32.isAbsolute(given) && /^[a-z]:/i.test(given))) {
    const url = pathToFileURL(path.resolve(workingDir, given)).href;
    return named(url, new URL(url).pathname, "local");
  }
  if (SHORT.test(given)) {
    const repository = given.replace(/\.git$/, "");
    return { repository, cloneUrl: `https://github.com/${repository}.git` };
  }
  if (SCHEME.test(given)) {
    const url = URL.parse(given);
    return url === null ? null : named(given, url.pathname, url.hostname || "local");
  }
  const remote = SCP_LIKE.exec(given);
  return remote?.[1] && remote[2] ? named(given, remote[2], remote[1]) : null;
}

/** The last two parts of the path, without `.git`; the host stands for an owner that is not there. */
function named(cloneUrl: string, pathname: string, host: string): NamedRepository | null {
  const parts = decoded(pathname)
    .split("/")
    .filter((part) => part !== "" && part !== ".git");
  const tokens = [host, ...parts].map(asName).filter((part) => part !== "");
  const [owner, name] = tokens.slice(-2);
  if (owner === undefined || name === undefined) return null;
  return { repository: `${owner}/${name}`.slice(0, 200), cloneUrl };
}

/** One part of a name: letters, digits, `_ . -`, and never `.` or `..`. */
function asName(part: string): string {
  const name = part.replace(/\.git$/, "").replace(/[^\w.-]+/g, "-");
  return /^\.*$/.test(name) ? "" : name;
}

function decoded(pathname: string): string {
  try {
    return decodeURIComponent(pathname);
  } catch {
    return pathname;
  }
}
