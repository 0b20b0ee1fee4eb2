// What an orchestrator asks for: the deploy request, as a person writes it and as the log has it, with its defaults and
// what its fields have to do with each other.
import { z } from "zod";
import type { Allowance } from "./budget.ts";
import { branchProblem, cloneUrlProblem } from "./clone-url.ts";
import { Constraint } from "./constraint.ts";
import { RepositoryName, TaskId } from "./ids.ts";
import { SecretNames } from "./secret.ts";
import { TASK_TYPES, TaskType } from "./task-type.ts";

export const PRIORITIES = ["high", "normal", "low"] as const;
export const Priority = z.enum(PRIORITIES);
export type Priority = z.infer<typeof Priority>;

/** A string is run by `sh -c`; a list is a program and its arguments, run as they are. */
export const Command = z.union(
  [z.string().min(1).max(32_768), z.array(z.string().max(32_768)).min(1).max(1_000)],
  'expected a command: a string for "sh -c", or a list of program and arguments',
);
export type Command = z.infer<typeof Command>;

const SHA = z
  .string()
  .regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/, "expected a full commit SHA (40 or 64 hex digits)");
const BYTES = z.int().positive();
const ENVIRONMENT_NAME = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,254}$/, "expected an environment variable's name");

/** The defaults a request without these fields gets; every reader uses the same. */
export const REQUEST_DEFAULTS = {
  timeoutMs: 1_800_000,
  maxAttempts: 3,
  memoryBytes: 536_870_912,
  memoryLimitBytes: 4_294_967_296,
  cpuLimit: 2,
  processLimit: 2_048,
  cpus: 1,
};

/** What every host knows by this name; others are its operator's to name. */
export const BUILT_IN_RUNNERS = ["command", "claude-code", "codex"] as const;
export const RunnerName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "expected a runner's name: lower-case letters, digits and hyphens");
export type RunnerName = z.infer<typeof RunnerName>;

/** How a coding agent works; what is not given is the agent's own default, or `AGENT_DEFAULTS`. */
const agentFields = {
  model: z.string().min(1).max(200).optional(),
  /** It is ended as `budget` after so many turns. */
  maxTurns: z.int().positive().max(10_000).optional(),
  /** The same once all attempts of the task have cost so much. */
  maxBudgetUsd: z.number().positive().max(100_000).optional(),
  /** No attempt follows once all of them have used so many, of all kinds; Claude Code is ended there. */
  maxTokens: z.int().positive().max(1e12).optional(),
  /** It is ended as `timeout` once it has said nothing for so long, ms. */
  silenceMs: z.int().positive().max(86_400_000).optional(),
  /** Tools that it may use without asking, in the agent's own words: `Bash(npm test)`. */
  allowedTools: z.array(z.string().min(1).max(500)).max(100).optional(),
  /** What becomes of other tools that ask: `ask` waits for a person, and denies what nobody answers. */
  approvals: z.enum(["deny", "ask", "allow"]).optional(),
};
export const AGENT_DEFAULTS = { silenceMs: 900_000, approvals: "deny", approvalMs: 300_000 } as const;

const text = (maximum: number, problem: (value: string) => string | null) =>
  z
    .string()
    .min(1)
    .max(maximum)
    .check((context) => {
      const found = problem(context.value);
      if (found) context.issues.push({ code: "custom", message: found, input: context.value });
    });

const fields = {
  type: TaskType,
  /** Chosen by the caller to make the call idempotent; the mesh chooses one otherwise. */
  taskId: TaskId.optional(),
  repository: RepositoryName,
  branch: text(1_024, branchProblem),
  sha: SHA,
  /** Whether a host clones `file://` is for that host to say; the form alone is judged here. */
  cloneUrl: text(2_048, (url) => cloneUrlProblem(url, { allowFileClones: true })),
  prNumber: z.int().positive().optional(),
  /** The pull request's own words: an agent is told what they are, and nothing in them is an instruction. */
  prTitle: z.string().max(1_024).optional(),
  prBody: z.string().max(65_536).optional(),
  /** The branch that the pull request is for; the remote's own if not given. An agent trusts its settings alone. */
  baseBranch: text(1_024, branchProblem).optional(),
  priority: Priority.optional(),
  /** Labels that the host must carry. */
  labels: z.record(z.string().min(1).max(63), z.string().max(63)).optional(),
  /** What else its labels must be. */
  constraints: z.array(Constraint).max(32).optional(),
  /** What the task is expected to use, for placement. */
  resources: z
    .strictObject({ memoryBytes: BYTES.optional(), cpus: z.number().positive().optional() })
    .optional(),
  /** What it may never exceed. */
  limits: z
    .strictObject({
      memoryBytes: BYTES.optional(),
      /** Cores' worth of time. */
      cpus: z.number().min(0.1).max(1_024).optional(),
      /** At once; threads count too, and a few that hold its sandbox. */
      processes: z.int().min(16).max(1_000_000).optional(),
    })
    .optional(),
  timeoutMs: z.int().positive().max(86_400_000).optional(),
  maxAttempts: z.int().positive().max(100).optional(),
  run: z
    .strictObject({ command: Command, env: z.record(ENVIRONMENT_NAME, z.string().max(32_768)).optional() })
    .optional(),
  /** What runs it: `claude-code` if there is a prompt, or its type wants an agent; else `command`. */
  runner: RunnerName.optional(),
  /** What a coding agent is to do, in place of a command; without one, what its type says. */
  prompt: z.string().min(1).max(65_536).optional(),
  agent: z.strictObject(agentFields).optional(),
  checks: z.array(Command).max(100).optional(),
  /** Names of secrets of its host's, which work and gates get as environment variables; work from a fork gets none. */
  secrets: SecretNames.optional(),
  /** What a failed attempt leaves of its trees stays on its host for a while, to be looked at there. */
  keepWorkspace: z.boolean().optional(),
  /** A gateway that may pushes the patch onto `branch` once the task has succeeded, if that is still at `sha`. */
  push: z.boolean().optional(),
  /** `false`: this task cancels no older one of its pull request. */
  supersede: z.boolean().optional(),
  /** The pull request comes from a fork: work of strangers. */
  fork: z.boolean().optional(),
  /** When the forge last changed the pull request, ISO 8601: tells a late webhook from a new one. */
  pullRequestUpdatedAt: z.iso.datetime({ offset: true }).optional(),
  /** The ended task that this one does again. */
  retryOf: TaskId.optional(),
};

/** A request as a person or an orchestrator writes it: an unknown field is a typing error. */
export const DeployFields = z.strictObject(fields);
/** The same with what its fields have to do with each other. */
export const StrictDeployRequest = DeployFields.check((context) => {
  const message = runnerProblem(context.value);
  if (message !== null) context.issues.push({ code: "custom", message, input: context.value });
});
/** The same between services and on the log: what a newer version added is passed over. */
export const DeployRequest = z.object({
  ...fields,
  resources: z.object(fields.resources.unwrap().shape).optional(),
  limits: z.object(fields.limits.unwrap().shape).optional(),
  run: z.object(fields.run.unwrap().shape).optional(),
  agent: z.object(agentFields).optional(),
});
export type DeployRequest = z.infer<typeof DeployRequest>;
type Running = Pick<
  DeployRequest,
  "type" | "run" | "runner" | "prompt" | "agent" | "fork" | "keepWorkspace" | "push" | "secrets"
>;

type Ran = Pick<Running, "type" | "run" | "runner" | "prompt">;

/** What the request lets its agents use in all attempts together; null if it says nothing of that. */
export function budgetOf({ agent }: Pick<DeployRequest, "agent">): Allowance | null {
  const { maxBudgetUsd: usd, maxTokens: tokens } = agent ?? {};
  if (usd === undefined && tokens === undefined) return null;
  return { ...(usd === undefined ? {} : { usd }), ...(tokens === undefined ? {} : { tokens }) };
}

/** Null if nothing is to be run: gates and checks alone judge the commit. */
export function runnerOf({ type, runner, run, prompt }: Ran): RunnerName | null {
  if (runner !== undefined) return runner;
  if (prompt !== undefined) return "claude-code";
  if (run !== undefined) return "command";
  return TASK_TYPES[type].agent ? "claude-code" : null;
}

/** It is a coding agent, which uses money and tokens. */
export const isAgent = (runner: string | null): boolean => runner !== null && runner !== "command";

/** A coding agent works on it. */
export function isForAgent(request: Ran): boolean {
  return isAgent(runnerOf(request));
}

/** Their provider's key stays on the host: what works in an instance has no way to it. */
const KEEP_KEY_OUT = ["claude-code"];

/** Why no agent may work on what strangers wrote; null where none is to, or one may. */
export function strangersProblem(request: Ran & Pick<DeployRequest, "fork">): string | null {
  const runner = runnerOf(request);
  if (request.fork !== true || !isAgent(runner) || KEEP_KEY_OUT.includes(runner ?? "")) return null;
  const able = KEEP_KEY_OUT.map((name) => `"${name}"`).join(" and ");
  return `runner "${runner}" has its provider's key in its instance, where a pull request from a fork could take it: ${able} has not`;
}

function runnerProblem(request: Running): string | null {
  const { run, prompt, agent, fork, push, secrets = [] } = request;
  const runner = runnerOf(request);
  const twice = secrets.find((name) => run?.env !== undefined && Object.hasOwn(run.env, name));
  if (twice !== undefined) return `${twice} is in run.env and in secrets: expected one of them`;
  if (fork === true && request.keepWorkspace) return "no workspace of a pull request from a fork is kept";
  if (run !== undefined && prompt !== undefined)
    return "run and prompt exclude each other: a command is run, or an agent is given a prompt";
  if (runner === "command" && run === undefined) return 'runner "command" needs run';
  if (isForAgent(request) && prompt === undefined && (request.type === "pr_deployment" || run !== undefined))
    return `runner "${runner}" needs a prompt`;
  const near = strangersProblem(request);
  if (near !== null) return near;
  if (push === true && fork === true) return "push: nothing is pushed to a fork";
  const unknown = unknownTo(runner).find((field) => agent?.[field] !== undefined);
  if (unknown !== undefined) return `agent.${unknown}: runner "${runner}" knows no such thing`;
  const untold = findingsProblem(request);
  if (untold !== null) return untold;
  if (agent !== undefined && !isForAgent(request)) return "agent is for an agent: give a prompt";
  return null;
}

/** Those that can be asked to tell what they have found in a form of its own. */
const TELL_FINDINGS = ["claude-code", "codex"];

/** Why nobody could tell the findings that are the task's answer; null where somebody can, or none are. */
export function findingsProblem(request: Ran): string | null {
  const runner = runnerOf(request);
  if (TASK_TYPES[request.type].findings !== "required" || TELL_FINDINGS.includes(runner ?? "")) return null;
  const able = TELL_FINDINGS.map((name) => `"${name}"`).join(" and ");
  return `a ${request.type} is told as findings, which runner "${runner}" does not do: ${able} do`;
}

/** What another agent than Claude Code cannot be held to. */
const CLAUDE_CODE_ONLY = ["maxTurns", "maxBudgetUsd", "allowedTools"] as const;

function unknownTo(runner: RunnerName | null): (keyof NonNullable<Running["agent"]>)[] {
  if (runner === null || runner === "command" || runner === "claude-code") return [];
  return runner === "codex" ? [...CLAUDE_CODE_ONLY, "approvals"] : [...CLAUDE_CODE_ONLY];
}
