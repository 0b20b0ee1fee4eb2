// What this host's own store of secrets may hold, and what of it a task gets. Pure; it must never put a value, or what
// might be one, into words.
import { z } from "zod";
import {
  lackingSecrets,
  type OfferedSecret,
  repositoryAt,
  SecretGrant,
  SecretName,
} from "../../../shared/contracts/secret.ts";
import { VALUE_MAX, VALUE_MIN } from "../redaction.ts";

const SECRETS_MAX = 64;
/** All of them stand in every heartbeat. */
const GRANTS_MAX_CHARACTERS = 32_768;

/** What instances have of their own, whatever a secret says. */
const OWN = /^(PATH|HOME|TMPDIR|LANG|LC_ALL|TZ|MESH_.*)$/;

const Name = SecretName.refine((name) => !OWN.test(name), "instances have a variable of this name already");

/** Anything else could leave an attempt unseen: the redactor finds a value in one line, as it stands. */
const SecretValue = z
  .string("expected a text")
  .min(VALUE_MIN, `expected ${VALUE_MIN} characters or more: shorter ones cannot be told from ordinary words`)
  .max(VALUE_MAX, `expected ${VALUE_MAX} characters at most`)
  .regex(
    /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/,
    "expected one line of printable ASCII: of several lines, such as a key's file, keep the base64",
  );

const Secret = z.strictObject({ value: SecretValue, repositories: z.array(SecretGrant).max(100) });

const Store = z
  .record(Name, Secret)
  .refine((store) => Object.keys(store).length <= SECRETS_MAX, `expected ${SECRETS_MAX} secrets at most`)
  .refine(
    (store) =>
      Object.values(store)
        .flatMap(({ repositories }) => repositories)
        .join("").length <= GRANTS_MAX_CHARACTERS,
    `expected ${GRANTS_MAX_CHARACTERS} characters of repositories at most, in all secrets together`,
  );
export type Store = z.infer<typeof Store>;

export type ReadStore = { ok: true; store: Store } | { ok: false; problem: string };

export function parseStore(text: string): ReadStore {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // Its words would show what stands there.
    return { ok: false, problem: `expected JSON: ${FORM}` };
  }
  const parsed = Store.safeParse(json);
  if (parsed.success) return { ok: true, store: parsed.data };
  return { ok: false, problem: [...new Set(parsed.error.issues.map(inWords))].slice(0, 5).join("; ") };
}

const FORM = '{ "NPM_TOKEN": { "value": "…", "repositories": ["github.com/owner/name"] } }';

/** A name is said only if it is one: somebody may have put a value there. */
function inWords(issue: z.core.$ZodIssue): string {
  const [name, field] = issue.path.map(String);
  if (name === undefined) return issue.code === "custom" ? issue.message : `expected ${FORM}`;
  const secret = SecretName.safeParse(name).success ? name : "a secret's name";
  if (issue.code === "invalid_key")
    return `${secret}: ${issue.issues.map(({ message }) => message).join(", ")}`;
  if (issue.code === "unrecognized_keys") return `${secret}: expected nothing but value and repositories`;
  return field === undefined ? `${secret}: expected ${FORM}` : `${secret}: ${field}: ${issue.message}`;
}

/** For heartbeats: the names, and where they are granted. */
export const offeredBy = (store: Store): OfferedSecret[] =>
  Object.entries(store).map(([name, { repositories }]) => ({ name, repositories }));

/** The values of these names, as environment variables; or those names that are not granted to what is cloned. */
export function grantedBy(
  store: Store,
  names: readonly string[],
  cloneUrl: string,
): { values: Record<string, string>; lacking: string[] } {
  const lacking = lackingSecrets({ names, repository: repositoryAt(cloneUrl) }, offeredBy(store));
  const values = names
    .filter((name) => !lacking.includes(name))
    .map((name): [string, string] => [name, store[name]?.value ?? ""]);
  return { values: Object.fromEntries(values), lacking };
}
