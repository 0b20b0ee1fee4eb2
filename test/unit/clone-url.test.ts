// Which clone URLs and branch names are let near a git: what could be an option, a program or this machine's disk is
// refused in words that say what was expected.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { branchProblem, cloneUrlProblem } from "../../shared/contracts/clone-url.ts";
import { StrictDeployRequest } from "../../shared/contracts/deploy-request.ts";
import { request } from "../support/facts.ts";

const remote = (url: string) => cloneUrlProblem(url, { allowFileClones: false });
const local = (url: string) => cloneUrlProblem(url, { allowFileClones: true });

describe("a clone URL", () => {
  it.each([
    "https://github.com/acme/shop.git",
    "https://github.com/acme/shop",
    "HTTPS://github.com/acme/shop.git",
    "http://127.0.0.1:3000/acme/shop.git",
    "https://me@dev.azure.com/acme/shop/_git/shop",
    "https://[::1]:8443/acme/shop.git",
    "ssh://git@github.com/acme/shop.git",
    "ssh://git@github.com:22/~me/shop.git",
    "git://example.org/shop.git",
    "git@github.com:acme/shop.git",
    "github.com:acme/shop.git",
    "git@host:größe/läden.git",
  ])("may be %s", (url) => {
    expect(remote(url)).toBeNull();
    expect(local(url)).toBeNull();
  });

  it.each([
    ["ext::sh -c touch% /tmp/owned", /blanks/],
    ["ext::sh", /transport helpers/],
    ["EXT::sh", /transport helpers/],
    ["fd::17", /transport helpers/],
    ["https::https://host/x", /transport helpers/],
    ["--upload-pack=touch", /option/],
    ["-u", /option/],
    ["ssh://-oProxyCommand=touch/x", /option/],
    ["ssh://-oProxyCommand=touch@host/x", /option/],
    ["ssh://%2DoProxyCommand=touch/x", /option/],
    ["ssh://%2doProxyCommand=touch@host/x", /option/],
    ["-oProxyCommand=touch@host:x", /option/],
    ["git@-oProxyCommand=touch:x", /option/],
    ["git@host:-oProxyCommand=touch", /option/],
    ["git@host:--upload-pack=touch", /option/],
    ["https://me:secret@host/x", /without a password/],
    ["https://%@host/x", /%/],
    ["https://%e0%a4@host/x", /%/],
    ["ftp://host/x", /"ftp:\/\/" is not cloned from/],
    ["javascript://host/x", /not cloned from/],
    ["ssh:///x", /a host/],
    ["https://", /a host/],
    ["/etc", /file:\/\/\/path/],
    ["./x", /file:\/\/\/path/],
    ["../x", /file:\/\/\/path/],
    ["C:\\x", /file:\/\/\/path/],
    ["c:/x", /file:\/\/\/path/],
    ["\\\\server\\share", /such as https/],
    ["shop", /such as https/],
    ["", /such as https/],
    ["https://host/a b", /blanks/],
    ["https://host/a\nb", /blanks or control/],
    ["https://host/a\u0000b", /blanks or control/],
    [`https://host/${"a".repeat(2_048)}`, /at most 2048/],
  ])("may not be %j", (url, words) => {
    expect(remote(url)).toMatch(words);
    expect(local(url)).toMatch(words);
  });

  it("may lead to this machine's disk only where that is allowed, and only by an absolute path", () => {
    for (const url of ["file:///srv/shop.git", "FILE:///srv/shop.git", "file:///C:/shop.git"]) {
      expect(local(url)).toBeNull();
      expect(remote(url)).toMatch(/MESH_ALLOW_FILE_CLONES/);
    }
    for (const url of ["file://srv/shop.git", "file://", "file://-x"])
      expect(local(url)).toMatch(/absolute path/);
  });

  it("is judged whatever it is, and never begins with a hyphen, names a helper or holds a blank", () => {
    const pieces = fc.constantFrom(
      "https",
      "ssh",
      "file",
      "ext",
      "://",
      "::",
      ":",
      "/",
      "@",
      "-",
      "%",
      "host",
      " ",
    );
    const anyUrl = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(pieces).map((some) => some.join("")),
    );
    fc.assert(
      fc.property(anyUrl, (url) => {
        const problem = local(url);
        if (problem === null) return !/^-|^[\w+.-]*::|\s/.test(url);
        return problem.startsWith("expected") || /not allowed|not cloned from/.test(problem);
      }),
      { numRuns: 2_000 },
    );
  });

  it("that is refused is a request that is refused, with the field and the same words", () => {
    const parsed = StrictDeployRequest.safeParse(request({ cloneUrl: "ext::sh", branch: "--upload-pack=x" }));
    expect(parsed.error?.issues.map(({ path, message }) => [path.join("."), message])).toEqual([
      ["branch", "expected a branch name: it must not begin with a hyphen"],
      ["cloneUrl", "transport helpers are not allowed: expected https://, ssh:// or user@host:path"],
    ]);
  });
});

describe("a branch's name", () => {
  it.each(["main", "feature/one.two", "größe", "héad-1", "a@b", "HEAD2", "dependabot/npm/x-1.2.3", "🚀"])(
    "may be %s",
    (name) => {
      expect(branchProblem(name)).toBeNull();
    },
  );

  it.each([
    "",
    "-x",
    "--upload-pack=touch",
    "a b",
    "a\nb",
    "a~1",
    "a^",
    "a:b",
    "a?",
    "a*",
    "a[b",
    "a\\b",
    "a..b",
    "a@{1}",
    "@",
    "/a",
    "a/",
    "a//b",
    "a.",
    ".a",
    "a/.b",
    "a.lock",
    "a.lock/b",
    "a\u007f",
    "ä".repeat(126),
  ])("may not be %j", (name) => {
    expect(branchProblem(name)).toMatch(/^expected a branch name: /);
  });
});
