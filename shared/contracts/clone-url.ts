// Which clone URLs and branch names the mesh lets near a git: what could be an option, a program or another
// machine's disk is refused in words. No imports, no IO.

const MAXIMUM = 2_048;
/** Of a branch's name between two slashes: git makes a file of it, and one with ".lock" after it. */
const PART_MAX_BYTES = 250;

/** Why a host does not clone from here; null if it may. */
export function cloneUrlProblem(url: string, options: { allowFileClones: boolean }): string | null {
  if (url.length > MAXIMUM) return `expected a clone URL of at most ${MAXIMUM} characters`;
  if (/[\s\u0000-\u001f\u007f]/.test(url)) return "expected a clone URL without blanks or control characters";
  if (url.startsWith("-")) return "expected a clone URL, not an option of git";
  if (/^[A-Za-z0-9+.-]+::/.test(url))
    return `transport helpers are not allowed: expected https://, ssh:// or user@host:path`;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined) return scpLikeProblem(url);
  if (scheme === "file") {
    if (!options.allowFileClones)
      return "file:// clones are not allowed on this host (MESH_ALLOW_FILE_CLONES=1 allows them)";
    return url.slice("file://".length).startsWith("/") ? null : "expected file:// with an absolute path";
  }
  if (!["https", "http", "ssh", "git"].includes(scheme))
    return `"${scheme}://" is not cloned from: expected https://, http://, ssh://, git:// or user@host:path`;
  const parsed = URL.parse(url);
  if (parsed === null || parsed.hostname === "") return "expected a clone URL with a host";
  // git decodes them.
  const [host, user] = [parsed.hostname, parsed.username].map(decoded);
  if (host === null || user === null) return "expected a clone URL whose % signs stand before two hex digits";
  if (host?.startsWith("-") || user?.startsWith("-")) return "expected a host, not an option of git";
  if (parsed.password !== "")
    return "expected a clone URL without a password: let the host's git credential helper know it";
  return null;
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** `user@host:path`, git's own short form of ssh. */
function scpLikeProblem(url: string): string | null {
  if (/^[A-Za-z]:[\\/]/.test(url) || url.startsWith("/") || url.startsWith("."))
    return "expected a URL: a folder of the host is cloned as file:///path";
  const parts = /^(?:([^@:/]+)@)?([^@:/]+):(.+)$/.exec(url);
  if (parts === null) return "expected a clone URL such as https://host/owner/name.git";
  const [, user = "", host = "", path = ""] = parts;
  if ([user, host, path].some((part) => part.startsWith("-")))
    return "expected user@host:path, not an option of git";
  return null;
}

/** Why git would not take this as a branch's name (git-check-ref-format(1)); null if it would. */
export function branchProblem(name: string): string | null {
  const refused = (why: string) => `expected a branch name: ${why}`;
  if (name === "") return refused("it must not be empty");
  if (name.startsWith("-")) return refused("it must not begin with a hyphen");
  if (/[\u0000-\u0020\u007f~^:?*[\\]/.test(name))
    return refused("blanks, control characters and ~^:?*[\\ are not allowed");
  if (name.includes("..") || name.includes("@{") || name === "@")
    return refused('"..", "@{" and "@" are not allowed');
  if (name.startsWith("/") || name.endsWith("/") || name.includes("//"))
    return refused("slashes stand between names");
  if (name.endsWith(".")) return refused("it must not end with a dot");
  if (name.split("/").some((part) => part.startsWith(".") || part.endsWith(".lock")))
    return refused("no part begins with a dot or ends with .lock");
  if (name.split("/").some((part) => new TextEncoder().encode(part).length > PART_MAX_BYTES))
    return refused(`no part has more than ${PART_MAX_BYTES} bytes`);
  return null;
}
