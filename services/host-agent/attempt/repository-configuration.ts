// What a repository says of itself in `.agent-mesh.toml`: its gates, the prompts for agents, limits below the host's.
// It is read from the base branch alone: whoever opens a pull request must not choose what it is judged by.
import { z } from "zod";
import { ConfigurationError } from "../../../shared/config/environment.ts";
import { parseToml } from "../../../shared/config/toml.ts";
import {
  Command,
  DeployFields,
  type DeployRequest,
  REQUEST_DEFAULTS,
} from "../../../shared/contracts/deploy-request.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import { AllowedHosts, NetworkName } from "../../../shared/contracts/network.ts";
import { SecretNames } from "../../../shared/contracts/secret.ts";
import { TaskType } from "../../../shared/contracts/task-type.ts";

const TEMPLATE_MAX_CHARACTERS = 16_384;
/** Of a template in a file of its own. */
export const TEMPLATE_MAX_BYTES = 16_384;

const FILE_RULE = "expected the path of a file from the top of the base branch, such as .agent-mesh/fix.md";

const Template = z.union(
  [
    z
      .string()
      .min(1, "expected a template")
      .max(TEMPLATE_MAX_CHARACTERS, `expected ${TEMPLATE_MAX_CHARACTERS} characters at most`),
    z.strictObject({
      file: z
        .string(FILE_RULE)
        .max(255, FILE_RULE)
        // git is asked for exactly this.
        .regex(/^(?!\.{1,2}(\/|$))[\w.][\w.-]*(\/(?!\.{1,2}(\/|$))[\w.][\w.-]*)*$/, FILE_RULE),
    }),
  ],
  'expected a template, or { file = ".agent-mesh/fix.md" } with the path of one',
);

const RepositoryConfiguration = z.strictObject({
  /** Run in this order after the work, each on the same fresh tree. */
  gates: z
    .strictObject({ setup: Command, lint: Command, tests: Command, build: Command })
    .partial()
    .default({}),
  /** By task type, in place of the mesh's own templates. */
  prompts: z.partialRecord(TaskType, Template).default({}),
  /** Names of secrets of its host's, which work and gates get as environment variables. */
  secrets: SecretNames.default([]),
  /** What work and gates may reach, as far as the host allows it. */
  network: z.strictObject({ mode: NetworkName, allow: AllowedHosts }).partial().default({}),
  limits: DeployFields.shape.limits.unwrap().extend({ timeoutMs: DeployFields.shape.timeoutMs }).default({}),
});
export type RepositoryConfiguration = z.infer<typeof RepositoryConfiguration>;

const EMPTY: RepositoryConfiguration = { gates: {}, prompts: {}, secrets: [], network: {}, limits: {} };

/** `text` is null where the base branch has no such file; `file` is named in what is wrong with it. */
export function readConfiguration(
  text: string | null,
  file: string,
): { ok: true; configuration: RepositoryConfiguration } | { ok: false; failure: Failure } {
  if (text === null) return { ok: true, configuration: EMPTY };
  try {
    return { ok: true, configuration: parseToml(text, file, RepositoryConfiguration) };
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return { ok: false, failure: { category: "setup", permanent: true, message: error.message } };
  }
}

/** The base branch's files that the configuration has templates in; one that cannot be read names none. */
export function templateFilesIn(text: string | null): string[] {
  const read = readConfiguration(text, "");
  if (!read.ok) return [];
  const files = Object.values(read.configuration.prompts).flatMap((template) =>
    typeof template === "object" ? [template.file] : [],
  );
  return [...new Set(files)];
}

/**
 * The request with the repository's limits where these are lower; what lies above what the request or the host allows
 * stays as it was, and is named.
 */
export function withLimits(
  request: DeployRequest,
  { limits }: Pick<RepositoryConfiguration, "limits">,
): { request: DeployRequest; tooHigh: string[] } {
  const allowed = {
    timeoutMs: request.timeoutMs ?? REQUEST_DEFAULTS.timeoutMs,
    memoryBytes: request.limits?.memoryBytes ?? REQUEST_DEFAULTS.memoryLimitBytes,
    cpus: request.limits?.cpus ?? REQUEST_DEFAULTS.cpuLimit,
    processes: request.limits?.processes ?? REQUEST_DEFAULTS.processLimit,
  };
  const names = Object.keys(allowed) as (keyof typeof allowed)[];
  const { timeoutMs, ...others } = Object.fromEntries(
    names.map((name) => [name, Math.min(allowed[name], limits[name] ?? allowed[name])]),
  ) as typeof allowed;
  return {
    request: { ...request, timeoutMs, limits: others },
    tooHigh: names.filter((name) => (limits[name] ?? 0) > allowed[name]),
  };
}
