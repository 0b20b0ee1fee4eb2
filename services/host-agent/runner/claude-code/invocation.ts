// How Claude Code is started: headless, with what the repository would have it load left out, and messages on stdin
// and stdout. Pure.
import { AGENT_DEFAULTS } from "../../../../shared/contracts/deploy-request.ts";
import { TASK_TYPES } from "../../../../shared/contracts/task-type.ts";
import { FINDINGS_SCHEMA } from "../findings.ts";
import type { RunCommand, RunSpec } from "../runner.ts";

/** Of the host's environment, what its tools need to reach anything; its provider it reaches by a door. */
const PROXY = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS"];

const SETTINGS = {
  // 10 of its own would take three minutes, and the mesh tries again anyway.
  CLAUDE_CODE_MAX_RETRIES: "4",
  // One that ends after its agent would be a second result, or none.
  CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: "1",
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
  DISABLE_AUTOUPDATER: "1",
  DISABLE_TELEMETRY: "1",
  DISABLE_ERROR_REPORTING: "1",
};

/** Nobody is there to be asked, to look at a plan, to come back to it later, or to be written to. */
const USELESS_TOOLS = [
  "SendMessage",
  "ListAgents",
  "AskUserQuestion",
  "EnterPlanMode",
  "EnterWorktree",
  "CronCreate",
  "ScheduleWakeup",
];

/** Its sockets and temporary files go with its home: agents of one user would meet in `/tmp`. */
const APART = 'export TMPDIR="$HOME/.tmp" CLAUDE_CODE_TMPDIR="$HOME/.tmp" && mkdir -p "$TMPDIR" && exec "$@"';

const FLAGS = [
  "--print",
  "--verbose",
  ...["--input-format", "stream-json"],
  ...["--output-format", "stream-json"],
  // So that it is known which messages it has taken.
  "--replay-user-messages",
  // Nothing that the repository brings: hooks, MCP servers, helpers, another address of the provider.
  ...["--setting-sources", "user"],
  "--strict-mcp-config",
];

/** What edits files, for where nothing may be changed. What may be run there is the same as elsewhere. */
const EDITING_TOOLS = ["Edit", "Write", "NotebookEdit"];

export function invocation(
  file: string,
  sessionId: string,
  {
    request: { type, agent = {} },
    allowance,
    session,
  }: Pick<RunSpec, "allowance" | "session"> & {
    request: Pick<RunSpec["request"], "type" | "agent">;
  },
  hostEnvironment: NodeJS.ProcessEnv,
): RunCommand {
  const { model, maxTurns, allowedTools = [], silenceMs = AGENT_DEFAULTS.silenceMs } = agent;
  const { readsOnly, findings } = TASK_TYPES[type];
  const denied = readsOnly ? [...USELESS_TOOLS, ...EDITING_TOOLS] : USELESS_TOOLS;
  const proxy = PROXY.flatMap((name) => {
    const value = hostEnvironment[name];
    return value === undefined || value === "" ? [] : [[name, value]];
  });
  return {
    argv: [
      ...["/bin/sh", "-c", APART, "sh"],
      file,
      ...FLAGS,
      ...["--permission-mode", readsOnly ? "default" : "acceptEdits"],
      ...["--permission-prompt-tool", "stdio"],
      ...["--disallowedTools", denied.join(",")],
      ...(findings === "none" ? [] : ["--json-schema", FINDINGS_SCHEMA]),
      ...[session?.resume ? "--resume" : "--session-id", sessionId],
      ...(model === undefined ? [] : [`--model=${model}`]),
      ...(maxTurns === undefined ? [] : ["--max-turns", String(maxTurns)]),
      ...(allowance.usd === undefined ? [] : ["--max-budget-usd", String(allowance.usd)]),
      // With "=", so that none of them is taken for a flag.
      ...allowedTools.map((tool) => `--allowedTools=${tool}`),
    ],
    env: { ...SETTINGS, ...(Object.fromEntries(proxy) as Record<string, string>) },
    stdin: "pipe",
    silenceMs,
    // By the first it says what it has used, and ends its tools itself.
    stopSignals: ["SIGINT", "SIGTERM"],
  };
}

/** A message of somebody to the agent, as a line for its stdin. */
export const userMessage = (text: string): string =>
  line({ type: "user", message: { role: "user", content: text }, parent_tool_use_id: null, session_id: "" });

export const interruption = (requestId: string): string =>
  line({ type: "control_request", request_id: requestId, request: { subtype: "interrupt" } });

export const permission = (requestId: string, input: unknown): string =>
  answer(requestId, { behavior: "allow", updatedInput: input });

export const denial = (requestId: string, message: string): string =>
  answer(requestId, { behavior: "deny", message });

const answer = (requestId: string, response: unknown): string =>
  line({ type: "control_response", response: { subtype: "success", request_id: requestId, response } });

const line = (value: unknown): string => `${JSON.stringify(value)}\n`;
