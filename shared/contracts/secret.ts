// Secrets of tasks, by name: what a request asks for, and for which repositories a host has them. A value stands in its
// host's own store and nowhere else: no contract has a field for one.
import { z } from "zod";

export const SecretName = z
  .string()
  .regex(
    /^[A-Za-z_][A-Za-z0-9_]{0,99}$/,
    "expected a secret's name, an environment variable's such as NPM_TOKEN, 100 characters at most",
  )
  .refine((name) => name !== "__proto__", "__proto__ cannot be a secret's name");
/** Of a request, and as many of its repository. */
export const SecretNames = z.array(SecretName).max(32);

const GRANT = /^(?:[a-z0-9][a-z0-9.-]*(?::\d{1,5})?(?:\/[a-z0-9._~-]+)+|\/[^*\s]+)(?:\/\*)?$/;

/** `github.com/octo-org/website`, or `github.com/octo-org/*` for all below it; `/srv/git/website` for `file://`. */
export const SecretGrant = z
  .string()
  .max(300)
  .transform((text) => (text.startsWith("/") ? text : text.toLowerCase().replace(/\.git$/, "")))
  .refine(
    (grant) => GRANT.test(grant) && !hasDots(grant),
    "expected a repository as host/owner/name, or host/owner/* for all of an owner's",
  );

/** What a host has, as its heartbeat tells it. */
export const OfferedSecret = z.object({ name: SecretName, repositories: z.array(z.string()) });
export type OfferedSecret = z.infer<typeof OfferedSecret>;

/** The names that a task wants, and where the repository is that it clones. */
export interface WantedSecrets {
  names: readonly string[];
  /** Null for a URL that proves nothing of what comes from it. */
  repository: string | null;
}

/** Null if it wants none. A pull request from a fork goes without, whatever it names. */
export function wantedSecrets(request: {
  secrets?: string[] | undefined;
  fork?: boolean | undefined;
  cloneUrl: string;
}): WantedSecrets | null {
  if (request.fork === true || !request.secrets?.length) return null;
  return { names: request.secrets, repository: repositoryAt(request.cloneUrl) };
}

/** Those of the wanted names that are not offered for their repository. */
export function lackingSecrets(
  { names, repository }: WantedSecrets,
  offered: readonly OfferedSecret[],
): string[] {
  return names.filter(
    (name) => !offered.some((one) => one.name === name && isGranted(one.repositories, repository)),
  );
}

const isGranted = (grants: readonly string[], repository: string | null): boolean =>
  repository !== null &&
  grants.some((grant) =>
    grant.endsWith("/*") ? repository.startsWith(grant.slice(0, -1)) : grant === repository,
  );

const HOST = String.raw`([A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?)`;
const PATH = String.raw`([A-Za-z0-9._~/-]+)`;
const FORMS = [
  new RegExp(String.raw`^https:\/\/(?:[A-Za-z0-9._-]+@)?${HOST}\/${PATH}$`),
  new RegExp(String.raw`^ssh:\/\/(?:[A-Za-z0-9._-]+@)?${HOST}\/${PATH}$`),
  new RegExp(String.raw`^(?:[A-Za-z0-9._-]+@)?([A-Za-z0-9][A-Za-z0-9.-]*):(?!\/\/)${PATH}$`),
];

/**
 * What a clone URL names, as grants are written: what is cloned counts, not what a request calls it. Null for what two
 * programs might read differently, and for http:// and git://, by which anybody on the way could answer.
 */
export function repositoryAt(cloneUrl: string): string | null {
  const file = /^file:\/\/(\/[^\s*%?#\\]+)$/.exec(cloneUrl)?.[1];
  if (file !== undefined) return hasDots(file) ? null : file;
  if (/^(http|git|file):/i.test(cloneUrl)) return null;
  for (const form of FORMS) {
    const [, host, path] = form.exec(cloneUrl) ?? [];
    if (host === undefined || path === undefined) continue;
    const parts = path.split("/").filter((part) => part !== "");
    const named = [host, ...parts]
      .join("/")
      .toLowerCase()
      .replace(/\.git$/, "");
    return parts.length === 0 || hasDots(named) ? null : named;
  }
  return null;
}

const hasDots = (text: string): boolean => text.split("/").some((part) => part === "." || part === "..");
