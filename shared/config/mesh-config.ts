// The mesh's configuration file (MESH_CONFIG, TOML): what the tasks of a webhook run, and what
// follows a failure. It is read once, and a
// wrong one is refused with the file, the key and the nearest known name; nothing in it is guessed.
import { readFile } from "node:fs/promises";
import { parse, TomlError } from "smol-toml";
import { z } from "zod";
import { RepositoryName } from "../contracts/ids.ts";
import { DeployFields } from "../contracts/task.ts";
import { explainIssues } from "../contracts/unknown-field.ts";
import { ConfigurationError } from "./environment.ts";
import { RetryChanges } from "./retry-table.ts";

/** Named and ruled as in a deploy request. */
const Settings = DeployFields.pick({
  run: true,
  runner: true,
  prompt: true,
  agent: true,
  checks: true,
  priority: true,
  labels: true,
  resources: true,
  limits: true,
  timeoutMs: true,
  maxAttempts: true,
}).extend({
  /** Deploy drafts too. */
  drafts: z.boolean().optional(),
});
export type Settings = z.infer<typeof Settings>;

const MeshConfig = z.strictObject({
  defaults: Settings.default({}),
  repositories: z.record(RepositoryName, Settings).default({}),
  retries: RetryChanges.default({}),
});
export type MeshConfig = z.infer<typeof MeshConfig>;

export const EMPTY_CONFIG: MeshConfig = { defaults: {}, repositories: {}, retries: {} };

/** Reads the file; without one there are no settings. */
export async function readMeshConfig(file: string | undefined): Promise<MeshConfig> {
  if (file === undefined) return EMPTY_CONFIG;
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new ConfigurationError(`MESH_CONFIG: cannot read ${file}: ${String(error)}`);
  }
  return parseMeshConfig(text, file);
}

/** `file` is named in what it throws. */
export function parseMeshConfig(text: string, file: string): MeshConfig {
  let table: unknown;
  try {
    table = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [summary] = error.message.split("\n");
    throw new ConfigurationError(`${file}:${error.line}:${error.column}: ${summary}`);
  }
  const config = MeshConfig.safeParse(table);
  if (!config.success) throw new ConfigurationError(`${file}: ${explainIssues(config.error, MeshConfig)}`);
  return config.data;
}

/**
 * The repository's settings over the defaults, field by field; one that says what is run says all of that. The forge
 * ignores case in names.
 */
export function settingsOf(config: MeshConfig, repository: string): Settings {
  const name = repository.toLowerCase();
  const own = Object.entries(config.repositories).find(([key]) => key.toLowerCase() === name)?.[1];
  if (own?.run === undefined && own?.prompt === undefined) return { ...config.defaults, ...own };
  const { run, runner, prompt, agent, ...others } = config.defaults;
  return { ...others, ...own };
}
