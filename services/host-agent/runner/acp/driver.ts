// A runner for agents that speak the Agent Client Protocol (agentclientprotocol.com, version 1) on their stdin and
// stdout. It offers them neither files nor terminals: what they do, they do where they run.

import type { AgentResult } from "../../../../shared/contracts/attempt-result.ts";
import { AGENT_DEFAULTS, type RunnerName } from "../../../../shared/contracts/deploy-request.ts";
import { TASK_TYPES } from "../../../../shared/contracts/task-type.ts";
import type { GuestProcess } from "../../supervisor/supervisor-link.ts";
import { complaintWith, cutText, nothingTold, summaryOf } from "../agent-result.ts";
import { Approvals, NO_TOOL_MAY_ASK } from "../approvals.ts";
import { endInTime } from "../end-in-time.ts";
import { eventQueue } from "../event-queue.ts";
import type { Run, Runner, RunOutcome, RunSpec, Transport } from "../runner.ts";
import type { GreetProgram } from "./greet.ts";
import { type Evidence, verdict } from "./outcome.ts";
import { Peer, type RequestId } from "./peer.ts";
import { CANCELLED, needsNoLeave, outcomeOf, PermissionRequest } from "./permission.ts";
import { probeAcp } from "./probe.ts";
import { Hello, INITIALIZE, MODEL, Session, TurnEnd } from "./session.ts";
import { Updates } from "./updates.ts";

export interface AcpAgent {
  name: RunnerName;
  argv: string[];
  env: Record<string, string>;
  version: string | undefined;
  auth: string | undefined;
  mode: string | undefined;
  /** How it is greeted where it runs. */
  greet: GreetProgram;
}

export const acpRunner = (agent: AcpAgent): Runner => ({
  name: agent.name,
  probe: () => probeAcp(agent),
  start: (spec, transport) => new AcpRun(agent, spec, transport),
});

class AcpRun implements Run {
  readonly outcome: Promise<RunOutcome>;
  readonly #agent: AcpAgent;
  readonly #request: RunSpec["request"];
  readonly #workTree: string;
  readonly #queue = eventQueue();
  readonly #process: GuestProcess;
  readonly #peer: Peer;
  readonly #updates = new Updates((event) => this.#queue.emit(event));
  readonly #approvals: Approvals<{ id: RequestId; tool: string; asked: PermissionRequest }>;
  readonly #evidence: Omit<Evidence, "exit"> = {
    started: false,
    stopReason: null,
    refused: null,
    complaint: "",
  };
  readonly #did: AgentResult;
  #turns = 0;
  /** What it is still to be told. */
  readonly #texts: string[];
  #closed = false;

  constructor(agent: AcpAgent, { request }: RunSpec, transport: Transport) {
    this.#agent = agent;
    this.#request = request;
    this.#workTree = transport.workTree;
    this.#texts = [request.prompt ?? ""];
    const silenceMs = request.agent?.silenceMs ?? AGENT_DEFAULTS.silenceMs;
    this.#approvals = new Approvals(request.agent);
    this.#did = nothingTold(agent.name);
    this.#process = transport.start(
      { argv: agent.argv, env: agent.env, stdin: "pipe", silenceMs },
      {
        stdout: (bytes) => this.#peer.hear(bytes),
        stderr: (bytes) => {
          this.#evidence.complaint = complaintWith(this.#evidence.complaint, bytes);
        },
      },
    );
    this.#peer = new Peer({
      write: (text) => this.#process.write(Buffer.from(text)),
      onRequest: (id, method, parameters) => this.#asked(id, method, parameters),
      onNotification: (method, parameters, text) => this.#hear(method, parameters, text),
      onNoise: (text) => this.#queue.emit({ type: "raw", text: cutText(text) }),
    });
    const conversation = this.#converse().finally(() => this.#close());
    this.outcome = this.#process.finished.then(async (exit) => {
      this.#peer.close();
      await conversation;
      this.#queue.close();
      const failure = verdict({ ...this.#evidence, exit });
      return { exit, failure, ...(this.#evidence.started ? { agent: this.#did } : {}) };
    });
  }

  get events() {
    return this.#queue.events;
  }

  say(text: string): boolean {
    if (this.#closed) return false;
    this.#texts.push(text);
    this.#queue.emit({ type: "said", text: cutText(text) });
    return true;
  }

  interrupt(): boolean {
    if (this.#closed || !this.#evidence.started) return false;
    for (const { id } of this.#approvals.clear()) this.#peer.respond(id, CANCELLED);
    this.#peer.notify("session/cancel", { sessionId: this.#did.sessionId });
    return true;
  }

  answer(approvalId: string, allow: boolean): boolean {
    const waiting = this.#approvals.take(approvalId);
    if (waiting === null) return false;
    if (allow) this.#peer.respond(waiting.id, outcomeOf(waiting.asked, "allow"));
    else this.#deny(waiting.id, waiting.tool, waiting.asked, "it was not approved");
    return true;
  }

  /** From its greeting to the end of its last turn; what it refuses ends that. */
  async #converse(): Promise<void> {
    const hello = await this.#ask("it did not begin", "initialize", INITIALIZE, Hello);
    if (hello === null) return;
    const { auth, mode } = this.#agent;
    if (auth !== undefined) {
      const refused = "it could not be authenticated";
      if ((await this.#ask(refused, "authenticate", { methodId: auth })) === null) return;
    }
    const wanted = { cwd: this.#workTree, mcpServers: [] };
    const session = await this.#ask("it opened no session", "session/new", wanted, Session);
    if (session === null) return;
    const { sessionId } = session;
    if (mode !== undefined) {
      const refused = `it does not work in mode ${mode}`;
      if ((await this.#ask(refused, "session/set_mode", { sessionId, modeId: mode })) === null) return;
    }
    // What it refuses from here on is the task's own.
    this.#evidence.started = true;
    this.#did.sessionId = sessionId;
    const model = await this.#chooseModel(session);
    if (model === null) return;
    const about = { sessionId, model, version: hello.agentInfo?.version ?? "" };
    Object.assign(this.#did, about);
    this.#queue.emit({ type: "started", ...about });
    for (let text = this.#texts.shift(); text !== undefined; text = this.#texts.shift()) {
      const prompt = [{ type: "text", text }];
      const turn = await this.#ask("its turn failed", "session/prompt", { sessionId, prompt }, TurnEnd);
      this.#updates.flush();
      if (turn === null) return;
      this.#conclude(turn);
    }
  }

  /** Null if it has none of that name. */
  async #chooseModel({ sessionId, configOptions }: Session): Promise<string | null> {
    const wanted = this.#request.agent?.model;
    const option = configOptions.find(({ category }) => category === MODEL);
    if (wanted === undefined) return option?.currentValue ?? "";
    const choice = { sessionId, configId: option?.id ?? MODEL, value: wanted };
    const chosen = await this.#ask(`it has no model ${wanted}`, "session/set_config_option", choice);
    return chosen === null ? null : wanted;
  }

  #conclude({ stopReason, usage }: TurnEnd): void {
    this.#evidence.stopReason = stopReason;
    this.#turns++;
    this.#did.summary = summaryOf(this.#updates.lastText);
    if (usage === null) return;
    const before = this.#did.usage;
    this.#did.usage = {
      turns: this.#turns,
      costUsd: this.#updates.costUsd,
      inputTokens: (before?.inputTokens ?? 0) + usage.inputTokens,
      outputTokens: (before?.outputTokens ?? 0) + usage.outputTokens,
      cacheReadTokens: (before?.cacheReadTokens ?? 0) + usage.cachedReadTokens,
      cacheWriteTokens: (before?.cacheWriteTokens ?? 0) + usage.cachedWriteTokens,
    };
    this.#queue.emit({ type: "usage", ...this.#did.usage });
  }

  /** Null if it refused, which the verdict then tells, or has gone. */
  async #ask<Value>(
    refused: string,
    method: string,
    parameters: object,
    schema?: { safeParse(value: unknown): { success: boolean; data?: Value } },
  ): Promise<Value | null> {
    const answer = await this.#peer.request(method, parameters);
    if (!answer.ok) {
      if (answer.error !== null) this.#evidence.refused = { what: refused, error: answer.error };
      return null;
    }
    if (schema === undefined) return {} as Value;
    const parsed = schema.safeParse(answer.result);
    if (parsed.success) return parsed.data as Value;
    const error = { code: 0, message: `its answer to ${method} is none of ACP 1` };
    this.#evidence.refused = { what: refused, error };
    return null;
  }

  #hear(method: string, parameters: unknown, text: string): void {
    if (method === "session/update") this.#updates.hear((parameters as { update?: unknown })?.update, text);
    else this.#queue.emit({ type: "raw", text: cutText(text) });
  }

  #asked(id: RequestId, method: string, parameters: unknown): void {
    if (method !== "session/request_permission") return this.#peer.refuse(id, method);
    const asked = PermissionRequest.safeParse(parameters);
    if (!asked.success) return this.#peer.respond(id, CANCELLED);
    const { name: tool, input } = this.#updates.tool(asked.data.toolCall, { isAsked: true });
    const { policy, timeoutMs } = this.#approvals;
    const { readsOnly } = TASK_TYPES[this.#request.type];
    if (policy === "allow" || needsNoLeave(asked.data, readsOnly))
      return this.#peer.respond(id, outcomeOf(asked.data, "allow"));
    if (policy === "deny") return this.#deny(id, tool, asked.data, NO_TOOL_MAY_ASK);
    const approvalId = String(id);
    this.#approvals.wait(approvalId, { id, tool, asked: asked.data }, (reason) =>
      this.#deny(id, tool, asked.data, reason),
    );
    const words = cutText(JSON.stringify(input) ?? "");
    this.#queue.emit({ type: "approval", id: approvalId, tool, input: words, timeoutMs });
  }

  #deny(id: RequestId, tool: string, asked: PermissionRequest, reason: string): void {
    this.#peer.respond(id, outcomeOf(asked, "deny"));
    this.#did.denied++;
    this.#queue.emit({ type: "denied", tool, reason });
  }

  /** Says nothing more to it, and sees that it ends. */
  #close(): void {
    this.#closed = true;
    this.#approvals.clear();
    endInTime(this.#process);
  }
}
