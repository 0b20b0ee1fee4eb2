// From the flags of `mesh deploy`, or from a file, to a deploy request. Pure; what it refuses is a mistake in usage,
// and it says which.
import type { z } from "zod";
import { parseDuration, parseSize } from "../../../shared/config/quantities.ts";
import { type DeployRequest, StrictDeployRequest } from "../../../shared/contracts/deploy-request.ts";
import { explainIssues } from "../../../shared/contracts/unknown-field.ts";
import { messageOf, UsageError } from "../outcome.ts";
import { parseConstraint } from "./constraint-text.ts";
import { parseRepository } from "./repository.ts";

/** As commander hands them over. */
export interface DeployFlags {
  type?: string;
  repo?: string;
  prBranch?: string;
  sha?: string;
  pr?: string;
  prTitle?: string;
  prBody?: string;
  base?: string;
  priority?: string;
  label?: string[];
  require?: string[];
  memory?: string;
  memoryLimit?: string;
  cpus?: string;
  cpuLimit?: string;
  processLimit?: string;
  timeout?: string;
  maxAttempts?: string;
  check?: string[];
  taskId?: string;
  env?: string[];
  secret?: string[];
  push?: boolean;
  supersede?: boolean;
  keepWorkspace?: boolean;
  fork?: boolean;
  runner?: string;
  prompt?: string;
  model?: string;
  maxTurns?: string;
  maxBudget?: string;
  maxTokens?: string;
  allowTool?: string[];
  approvals?: string;
}

type Draft = z.input<typeof StrictDeployRequest>;

export function requestFromFlags(flags: DeployFlags, command: string[]): DeployRequest {
  const { repo, prBranch, sha } = flags;
  const missing = Object.entries({ "--repo": repo, "--pr-branch": prBranch, "--sha": sha }).filter(
    ([, given]) => !given,
  );
  if (missing.length > 0)
    throw new UsageError(`${missing.map(([flag]) => flag).join(", ")} missing (or give --file)`);
  const { type = "pr_deployment", runner } = flags;
  const saysNothing = command.length === 0 && flags.prompt === undefined && !flags.check?.length;
  if (saysNothing && type === "pr_deployment" && runner === undefined)
    throw new UsageError(
      'nothing to do: write the command after "--", or give a --prompt, a --check or a --type',
    );
  const repository = parseRepository(repo ?? "");
  if (repository === null) throw new UsageError(`--repo: expected a clone URL or owner/name, not "${repo}"`);
  const resources = {
    ...(flags.memory === undefined ? {} : { memoryBytes: sizeOf("--memory", flags.memory) }),
    ...(flags.cpus === undefined ? {} : { cpus: numberOf("--cpus", flags.cpus) }),
  };
  const limits = {
    ...(flags.memoryLimit === undefined ? {} : { memoryBytes: sizeOf("--memory-limit", flags.memoryLimit) }),
    ...(flags.cpuLimit === undefined ? {} : { cpus: numberOf("--cpu-limit", flags.cpuLimit) }),
    ...(flags.processLimit === undefined
      ? {}
      : { processes: wholeOf("--process-limit", flags.processLimit) }),
  };
  const draft = {
    type,
    ...repository,
    branch: prBranch ?? "",
    sha: sha?.toLowerCase() ?? "",
    ...(flags.taskId === undefined ? {} : { taskId: flags.taskId }),
    ...(flags.pr === undefined ? {} : { prNumber: wholeOf("--pr", flags.pr.replace(/^#/, "")) }),
    ...(flags.prTitle === undefined ? {} : { prTitle: flags.prTitle }),
    ...(flags.prBody === undefined ? {} : { prBody: flags.prBody }),
    ...(flags.base === undefined ? {} : { baseBranch: flags.base }),
    ...(flags.priority === undefined ? {} : { priority: flags.priority }),
    ...(flags.label?.length ? { labels: pairsOf("--label", flags.label) } : {}),
    ...(flags.require?.length ? { constraints: flags.require.map(parseConstraint) } : {}),
    ...(Object.keys(resources).length === 0 ? {} : { resources }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(flags.timeout === undefined ? {} : { timeoutMs: durationOf("--timeout", flags.timeout) }),
    ...(flags.maxAttempts === undefined ? {} : { maxAttempts: wholeOf("--max-attempts", flags.maxAttempts) }),
    ...runOf(command, flags.env ?? []),
    ...(runner === undefined ? {} : { runner }),
    ...(flags.prompt === undefined ? {} : { prompt: flags.prompt }),
    ...agentOf(flags),
    ...(flags.check?.length ? { checks: flags.check } : {}),
    ...(flags.secret?.length ? { secrets: flags.secret } : {}),
    ...(flags.keepWorkspace ? { keepWorkspace: true } : {}),
    ...(flags.fork ? { fork: true } : {}),
    ...(flags.push ? { push: true } : {}),
    ...(flags.supersede === false ? { supersede: false } : {}),
  };
  return checked(draft);
}

/** The text of a file with a deploy request, in JSON. */
export function requestFromText(text: string, from: string, taskId?: string): DeployRequest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${from} is no JSON text: ${messageOf(error)}`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new UsageError(`${from}: expected a deploy request, a JSON object`);
  return checked(taskId === undefined ? json : { ...json, taskId });
}

function checked(draft: unknown): DeployRequest {
  const request = StrictDeployRequest.safeParse(draft);
  if (!request.success) throw new UsageError(explainIssues(request.error, StrictDeployRequest));
  return request.data;
}

/** One word with spaces in it is a line for the shell; more words are a program and its arguments. */
function runOf(command: string[], env: string[]): Pick<Draft, "run"> {
  const [only] = command;
  if (only === undefined) {
    if (env.length > 0) throw new UsageError('--env is for a command: write one after "--"');
    return {};
  }
  const line = command.length === 1 && /\s/.test(only) ? only : command;
  return { run: { command: line, ...(env.length > 0 ? { env: pairsOf("--env", env) } : {}) } };
}

function agentOf({ model, maxTurns, maxBudget, maxTokens, allowTool, approvals }: DeployFlags): {
  agent?: object;
} {
  const agent = {
    ...(model === undefined ? {} : { model }),
    ...(maxTurns === undefined ? {} : { maxTurns: wholeOf("--max-turns", maxTurns) }),
    ...(maxBudget === undefined
      ? {}
      : { maxBudgetUsd: numberOf("--max-budget", maxBudget.replace(/^\$/, "")) }),
    ...(maxTokens === undefined ? {} : { maxTokens: wholeOf("--max-tokens", maxTokens) }),
    ...(allowTool === undefined ? {} : { allowedTools: allowTool }),
    ...(approvals === undefined ? {} : { approvals }),
  };
  return Object.keys(agent).length === 0 ? {} : { agent };
}

function pairsOf(flag: string, texts: string[]): Record<string, string> {
  const pairs = texts.map((text): [string, string] => {
    const equals = text.indexOf("=");
    if (equals < 1) throw new UsageError(`${flag}: expected key=value, not "${text}"`);
    return [text.slice(0, equals), text.slice(equals + 1)];
  });
  return Object.fromEntries(pairs);
}

function sizeOf(flag: string, text: string): number {
  const bytes = parseSize(text);
  if (bytes === null)
    throw new UsageError(`${flag}: expected a size such as 512MB, 2GB or 1GiB, not "${text}"`);
  return bytes;
}

function durationOf(flag: string, text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new UsageError(`${flag}: expected a duration such as 90s, 10m or 1h, not "${text}"`);
  return ms;
}

export function wholeOf(flag: string, text: string, minimum = 1, maximum = Number.MAX_SAFE_INTEGER): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(number >= minimum && number <= maximum)) {
    const upTo =
      maximum === Number.MAX_SAFE_INTEGER ? ` of ${minimum} or more` : ` from ${minimum} to ${maximum}`;
    throw new UsageError(`${flag}: expected a whole number${upTo}, not "${text}"`);
  }
  return number;
}

function numberOf(flag: string, text: string): number {
  const number = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(number > 0)) throw new UsageError(`${flag}: expected a number above 0, not "${text}"`);
  return number;
}
