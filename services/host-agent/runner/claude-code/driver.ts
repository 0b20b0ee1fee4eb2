// The runner `claude-code`: Claude Code's CLI, told what to do on its stdin and understood by its stdout. It decides
// nothing about the task: what it hears is mapped in `events.ts` and judged in `outcome.ts`.
import { randomUUID } from "node:crypto";
import type { AgentResult } from "../../../../shared/contracts/attempt-result.ts";
import type { Failure } from "../../../../shared/contracts/failure.ts";
import type { GuestProcess } from "../../supervisor/supervisor-link.ts";
import { complaintWith, cutText, nothingTold, summaryOf } from "../agent-result.ts";
import { Approvals, NO_TOOL_MAY_ASK } from "../approvals.ts";
import { eventQueue } from "../event-queue.ts";
import { readFindings } from "../findings.ts";
import { Lines } from "../lines.ts";
import { findProgram, type ProgramKind, type ProgramOptions } from "../program.ts";
import { providerProblem } from "../provider.ts";
import type { Run, Runner, RunOutcome, RunSpec, Transport } from "../runner.ts";
import { type Line, type Result, readLine } from "./events.ts";
import { denial, interruption, invocation, permission, userMessage } from "./invocation.ts";
import { type Evidence, verdict } from "./outcome.ts";
import { anthropic } from "./provider.ts";
import { GO_ON, SESSIONS } from "./session.ts";

export const CLAUDE: ProgramKind = {
  name: "claude",
  lowest: "2.1.330",
  fileVariable: "MESH_CLAUDE_BIN",
  versionVariable: "MESH_CLAUDE_VERSION",
};

export function claudeCodeRunner(program: ProgramOptions, environment: NodeJS.ProcessEnv): Runner {
  let file = program.file ?? "claude";
  const provider = anthropic(environment);
  return {
    name: "claude-code",
    ...(provider === null ? {} : { provider }),
    sessions: SESSIONS,
    async probe() {
      const found = await findProgram(CLAUDE, program);
      if (!found.ok) return found;
      file = found.file;
      if (provider === null)
        return {
          ok: false,
          reason: "no key for its provider: set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN",
        };
      const problem = providerProblem(provider);
      if (problem !== null)
        return {
          ok: false,
          reason: `${problem}: see ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN`,
        };
      return { ok: true, version: found.version };
    },
    start: (spec, transport) =>
      new ClaudeCodeRun(spec, transport, (sessionId) => invocation(file, sessionId, spec, environment)),
  };
}

/** One that the provider limits, or a host that is cut off, says nothing of the session that was to be gone on with. */
const mayBeItsSession = (failure: Failure | null): boolean =>
  failure?.category === "agent" || failure?.category === "setup";

class ClaudeCodeRun implements Run {
  readonly outcome: Promise<RunOutcome>;
  readonly #queue = eventQueue();
  readonly #process: GuestProcess;
  readonly #approvals: Approvals<{ tool: string; input: unknown }>;
  readonly #evidence: Omit<Evidence, "exit"> = {
    started: false,
    result: null,
    apiError: null,
    limitResetsAtMs: null,
    complaint: "",
  };
  readonly #did: AgentResult;
  readonly #onDone: NonNullable<RunSpec["session"]>["onDone"];
  /** The model has answered. */
  #heardModel = false;
  /** Of all results: each counts its own turns. */
  #turns = 0;
  /** Messages written to its stdin, less those it has taken. */
  #unheard = 0;
  #closed = false;

  constructor(
    { request, session }: RunSpec,
    transport: Transport,
    invoke: (sessionId: string) => ReturnType<typeof invocation>,
  ) {
    this.#approvals = new Approvals(request.agent);
    const sessionId = session?.resume?.sessionId ?? randomUUID();
    this.#onDone = session?.onDone ?? (() => {});
    this.#did = { ...nothingTold("claude-code"), sessionId };
    const lines = new Lines();
    this.#process = transport.start(invoke(sessionId), {
      stdout: (bytes) => {
        for (const text of lines.push(bytes)) if (text !== null) this.#hear(readLine(text));
      },
      stderr: (bytes) => {
        this.#evidence.complaint = complaintWith(this.#evidence.complaint, bytes);
      },
    });
    this.#tell(session?.resume ? GO_ON : (request.prompt ?? ""));
    this.outcome = this.#process.finished.then((exit) => {
      this.#close();
      this.#queue.close();
      const failure = verdict({ ...this.#evidence, exit }, Date.now());
      const { structured, models } = this.#evidence.result ?? {};
      const findings = readFindings(structured);
      return {
        exit,
        failure,
        ...(this.#evidence.started ? { agent: this.#did } : {}),
        ...(models === undefined ? {} : { models }),
        ...(findings === undefined ? {} : { findings }),
        ...(session?.resume && !this.#heardModel && mayBeItsSession(failure)
          ? { isSessionRefused: true }
          : {}),
      };
    });
  }

  get events() {
    return this.#queue.events;
  }

  say(text: string): boolean {
    if (this.#closed) return false;
    this.#tell(text);
    this.#queue.emit({ type: "said", text: cutText(text) });
    return true;
  }

  interrupt(): boolean {
    if (this.#closed) return false;
    this.#write(interruption(randomUUID()));
    return true;
  }

  answer(approvalId: string, allow: boolean): boolean {
    const asked = this.#approvals.take(approvalId);
    if (asked === null) return false;
    if (allow) this.#write(permission(approvalId, asked.input));
    else this.#deny(approvalId, asked.tool, "it was not approved");
    return true;
  }

  #hear(line: Line): void {
    for (const event of line.events) {
      if (event.type === "rateLimit" && event.status === "rejected")
        this.#evidence.limitResetsAtMs = event.resetsAtMs;
      // A failure of its provider comes as an answer too.
      this.#heardModel ||=
        line.apiError === undefined && (event.type === "text" || event.type === "toolStart");
      this.#queue.emit(event.type === "usage" ? { ...event, turns: this.#turns + event.turns } : event);
    }
    if (line.started !== undefined) {
      this.#evidence.started = true;
      Object.assign(this.#did, line.started);
    }
    if (line.apiError !== undefined) this.#evidence.apiError = line.apiError;
    for (const toolId of line.done ?? []) this.#onDone({ sessionId: this.#did.sessionId, toolId });
    if (line.asks !== undefined) this.#decide(line.asks);
    if (line.asksNoMore !== undefined) this.#approvals.take(line.asksNoMore);
    if (line.tookMessage) this.#unheard = Math.max(0, this.#unheard - 1);
    if (line.result !== undefined) this.#conclude(line.result);
  }

  #conclude(result: Result): void {
    this.#turns += result.turns;
    this.#evidence.result = result;
    Object.assign(this.#did, {
      usage: { ...result.usage, turns: this.#turns, costUsd: result.costUsd },
      denied: result.denied,
      summary: summaryOf(result.text),
    });
    // With nothing more to do, the end of its stdin is its end.
    if (this.#unheard === 0 && result.queued === 0) this.#close();
  }

  #decide({ requestId, tool, input }: NonNullable<Line["asks"]>): void {
    const { policy, timeoutMs } = this.#approvals;
    if (policy === "allow") return this.#write(permission(requestId, input));
    if (policy === "deny") return this.#deny(requestId, tool, NO_TOOL_MAY_ASK);
    this.#approvals.wait(requestId, { tool, input }, (reason) => this.#deny(requestId, tool, reason));
    const asked = cutText(JSON.stringify(input) ?? "");
    this.#queue.emit({ type: "approval", id: requestId, tool, input: asked, timeoutMs });
  }

  #deny(requestId: string, tool: string, reason: string): void {
    this.#write(denial(requestId, reason));
    this.#queue.emit({ type: "denied", tool, reason });
  }

  #tell(text: string): void {
    this.#unheard++;
    this.#write(userMessage(text));
  }

  #write(text: string): void {
    if (!this.#closed) this.#process.write(Buffer.from(text));
  }

  /** Says nothing more to it. */
  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#approvals.clear();
    this.#process.endStdin();
  }
}
