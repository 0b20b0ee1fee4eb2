// The runner `codex`: Codex's CLI, which is given its prompt on stdin and takes nothing after that. Its own sandbox
// denies what it may not do, and asks nobody.

import type { AgentResult } from "../../../../shared/contracts/attempt-result.ts";
import type { DeployRequest } from "../../../../shared/contracts/deploy-request.ts";
import { AGENT_DEFAULTS } from "../../../../shared/contracts/deploy-request.ts";
import { TASK_TYPES } from "../../../../shared/contracts/task-type.ts";
import type { Hello } from "../../guest/protocol.ts";
import { complaintWith, nothingTold, summaryOf } from "../agent-result.ts";
import { eventQueue } from "../event-queue.ts";
import { CLOSED_FINDINGS_SCHEMA, readFindings } from "../findings.ts";
import { jsonOf, Lines } from "../lines.ts";
import { findProgram, type ProgramKind, type ProgramOptions } from "../program.ts";
import type { Run, RunCommand, Runner, Transport } from "../runner.ts";
import { type Line, readLine } from "./events.ts";
import { type Evidence, verdict } from "./outcome.ts";

export const CODEX: ProgramKind = {
  name: "codex",
  lowest: "0.169.0",
  fileVariable: "MESH_CODEX_BIN",
  versionVariable: "MESH_CODEX_VERSION",
};
/** The form of its answer has to be a file that it can read: its first argument, in the attempt's own home. */
const WITH_SCHEMA =
  'printf %s "$1" > "$HOME/findings.schema.json" && shift && exec "$@" --output-schema "$HOME/findings.schema.json" -';
const OWN_PROVIDER = "https://api.openai.com/v1";

/** `isolation`: of attempts on this host. */
export function codexRunner(
  program: ProgramOptions,
  environment: NodeJS.ProcessEnv,
  isolation: Hello["isolation"] | undefined,
): Runner {
  let known = { file: program.file ?? "codex", version: "" };
  return {
    name: "codex",
    async probe() {
      // Its commands would all fail.
      if (isolation === "sandbox")
        return {
          ok: false,
          reason:
            "its own sandbox cannot begin inside that of attempts: MESH_HOST_SANDBOX=0 does without the latter",
        };
      const found = await findProgram(CODEX, program);
      if (!found.ok) return found;
      known = found;
      if (!environment.OPENAI_API_KEY)
        return { ok: false, reason: "no key for its provider: set OPENAI_API_KEY" };
      return { ok: true, version: found.version };
    },
    start: ({ request }, transport) =>
      startCodex(request, transport, invocation(known.file, request, environment), known.version),
  };
}

/** How it is started: with nothing of the user's or the repository's configuration, and the key out of its tools' reach. */
export function invocation(
  file: string,
  { type, agent = {} }: Pick<DeployRequest, "type" | "agent">,
  environment: NodeJS.ProcessEnv,
): RunCommand {
  const { model, silenceMs = AGENT_DEFAULTS.silenceMs } = agent;
  const provider = {
    name: '"mesh"',
    base_url: JSON.stringify(environment.OPENAI_BASE_URL || OWN_PROVIDER),
    env_key: '"OPENAI_API_KEY"',
    wire_api: '"responses"',
  };
  const table = Object.entries(provider).map(([key, value]) => `${key}=${value}`);
  const passed = ["OPENAI_API_KEY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE"].flatMap(
    (name) => (environment[name] ? [[name, environment[name]]] : []),
  );
  const asked = TASK_TYPES[type].findings !== "none";
  return {
    argv: [
      ...(asked ? ["/bin/sh", "-c", WITH_SCHEMA, "sh", CLOSED_FINDINGS_SCHEMA] : []),
      file,
      ...["exec", "--json", "--ephemeral", "--ignore-user-config", "--ignore-rules", "--color", "never"],
      ...["--sandbox", TASK_TYPES[type].readsOnly ? "read-only" : "workspace-write"],
      ...["--config", 'model_provider="mesh"', "--config", `model_providers.mesh={${table.join(",")}}`],
      ...["--config", 'shell_environment_policy.exclude=["OPENAI_API_KEY"]'],
      ...(model === undefined ? [] : [`--model=${model}`]),
      ...(asked ? [] : ["-"]),
    ],
    env: Object.fromEntries(passed) as Record<string, string>,
    stdin: "pipe",
    silenceMs,
    stopSignals: ["SIGINT", "SIGTERM"],
  };
}

function startCodex(
  { type, prompt = "", agent }: DeployRequest,
  transport: Transport,
  command: RunCommand,
  version: string,
): Run {
  const about = { model: agent?.model ?? "", version };
  const queue = eventQueue();
  const lines = new Lines();
  const evidence: Omit<Evidence, "exit"> = { started: false, completed: false, failure: null, complaint: "" };
  const did: AgentResult = { ...nothingTold("codex"), ...about };
  let answer = "";
  const hear = ({ events, sessionId, said, usage, failure }: Line) => {
    for (const event of events) queue.emit(event);
    if (sessionId !== undefined) {
      evidence.started = true;
      did.sessionId = sessionId;
    }
    if (said !== undefined) {
      answer = said;
      did.summary = summaryOf(said);
    }
    if (usage !== undefined) {
      evidence.completed = true;
      did.usage = usage;
    }
    if (failure !== undefined) evidence.failure = failure;
  };
  const process = transport.start(command, {
    stdout: (bytes) => {
      for (const text of lines.push(bytes)) if (text !== null) hear(readLine(text, about));
    },
    stderr: (bytes) => {
      evidence.complaint = complaintWith(evidence.complaint, bytes);
    },
  });
  process.write(Buffer.from(prompt));
  process.endStdin();
  return {
    events: queue.events,
    say: () => false,
    interrupt: () => false,
    answer: () => false,
    outcome: process.finished.then((exit) => {
      queue.close();
      const findings = TASK_TYPES[type].findings === "none" ? undefined : readFindings(jsonOf(answer));
      return {
        exit,
        failure: verdict({ ...evidence, exit }),
        ...(evidence.started ? { agent: did } : {}),
        ...(findings === undefined ? {} : { findings }),
      };
    }),
  };
}
