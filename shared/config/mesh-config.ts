// The mesh's configuration file (MESH_CONFIG, TOML): what the tasks of a webhook run, what follows a failure, the coding
// agents and settings of a host, and where gateways may push. It is read once, and a wrong one is refused with the file,
// the key and the nearest known name; nothing in it is guessed.
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { cloneUrlProblem } from "../contracts/clone-url.ts";
import { DeployFields } from "../contracts/deploy-request.ts";
import { RepositoryName } from "../contracts/ids.ts";
import { AgentPrograms } from "./agent-programs.ts";
import { type Environment, readEnvironment, SettingError } from "./environment.ts";
import { HostTable, withHostTable } from "./host-table.ts";
import { RetryChanges } from "./retry-table.ts";
import { parseToml } from "./toml.ts";

const NAME = z.string().regex(/^[^<>\n\0]{1,200}$/, "expected a name without < and >");

/** Named and ruled as in a deploy request. */
const Settings = DeployFields.pick({
  type: true,
  run: true,
  runner: true,
  prompt: true,
  agent: true,
  checks: true,
  secrets: true,
  priority: true,
  labels: true,
  resources: true,
  limits: true,
  timeoutMs: true,
  maxAttempts: true,
  push: true,
})
  .partial({ type: true })
  .extend({
    /** Deploy drafts too. */
    drafts: z.boolean().optional(),
  });
export type Settings = z.infer<typeof Settings>;

/** That gateways may push the patches of this repository's tasks, and how. */
const PushGrant = z.strictObject({
  /** Where to; with the gateway's own git credentials. */
  url: z
    .string()
    .refine(
      (url) => cloneUrlProblem(url, { allowFileClones: true }) === null,
      "expected a URL that git pushes to",
    ),
  /** A file as `git credential-store` keeps it, instead of the credentials of the gateway's user. */
  credentials: z.string().startsWith("/", "expected the full path of a file").optional(),
  /** Whose commits they are. */
  author: z
    .strictObject({ name: NAME, email: NAME })
    .default({ name: "agent-mesh", email: "agent-mesh@noreply.invalid" }),
  /** Patches may change what a forge or CI service runs by itself, as `.github/workflows`. */
  workflows: z.boolean().default(false),
});
export type PushGrant = z.infer<typeof PushGrant>;

const MeshConfig = z.strictObject({
  defaults: Settings.default({}),
  repositories: z.record(RepositoryName, Settings).default({}),
  retries: RetryChanges.default({}),
  runners: AgentPrograms.default({}),
  push: z.record(RepositoryName, PushGrant).default({}),
  host: HostTable.default({}),
});
export type MeshConfig = z.infer<typeof MeshConfig>;

export const EMPTY_CONFIG: MeshConfig = {
  defaults: {},
  repositories: {},
  retries: {},
  runners: {},
  push: {},
  host: {},
};

/** Reads the file; without one there are no settings. */
export async function readMeshConfig(file: string | undefined): Promise<MeshConfig> {
  if (file === undefined) return EMPTY_CONFIG;
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new SettingError(`MESH_CONFIG: cannot read ${file}: ${String(error)}`);
  }
  return parseMeshConfig(text, file);
}

/** The environment, with what the file says of this machine's host where that says nothing. */
export async function readSettings(env: NodeJS.ProcessEnv = process.env): Promise<Environment> {
  const { host } = await readMeshConfig(env.MESH_CONFIG || undefined);
  return readEnvironment(withHostTable(env, host));
}

/** `file` is named in what it throws. */
export const parseMeshConfig = (text: string, file: string): MeshConfig => parseToml(text, file, MeshConfig);

/** Null if nothing may be pushed there. The forge ignores case in names. */
export function grantOf(config: MeshConfig, repository: string): PushGrant | null {
  const name = repository.toLowerCase();
  return Object.entries(config.push).find(([key]) => key.toLowerCase() === name)?.[1] ?? null;
}

/**
 * The repository's settings over the defaults, field by field; one that says what is run says all of that. The forge
 * ignores case in names.
 */
export function settingsOf(config: MeshConfig, repository: string): Settings {
  const name = repository.toLowerCase();
  const own = Object.entries(config.repositories).find(([key]) => key.toLowerCase() === name)?.[1];
  if (own?.run === undefined && own?.prompt === undefined && own?.type === undefined)
    return { ...config.defaults, ...own };
  const { type, run, runner, prompt, agent, ...others } = config.defaults;
  return { ...others, ...own };
}
