// A runner for agents that have no interface but a terminal, through coder/agentapi. Neither success nor cost can be
// read from a screen: its work is over once the screen has been still and asks nothing, and then the checks decide.
import path from "node:path";
import { z } from "zod";
import type { AgentResult } from "../../../../shared/contracts/attempt-result.ts";
import { AGENT_DEFAULTS, type RunnerName } from "../../../../shared/contracts/deploy-request.ts";
import type { Failure } from "../../../../shared/contracts/failure.ts";
import { ownSource } from "../../../../shared/process/own-program.ts";
import { infrastructureFailure } from "../../attempt/judgement.ts";
import type { ExitRecord, GuestProcess } from "../../supervisor/supervisor-link.ts";
import { complaintWith, cutText, nothingTold, SUMMARY_CHARACTERS } from "../agent-result.ts";
import { endInTime } from "../end-in-time.ts";
import { eventQueue } from "../event-queue.ts";
import { jsonOf, Lines } from "../lines.ts";
import { findProgram, type LookForProgram } from "../program.ts";
import type { Probe, Run, Runner, RunOutcome, RunSpec, Transport } from "../runner.ts";
import { Dialog } from "./dialog.ts";
import { ESCAPE, questionOn, SETTLED_MS, stateOf, typed, type View } from "./screen.ts";

export interface AgentapiAgent {
  name: RunnerName;
  argv: string[];
  env: Record<string, string>;
  version: string | undefined;
  look: LookForProgram;
  quietMs: number | undefined;
}

export const AGENTAPI_LOWEST = "0.12.1";
const NODE_LOWEST = "20.0.0";
const QUIET_MS = 10_000;
/** Wide, so that a secret on the screen is one word, and known for what it is. */
const TERMINAL = { TERM: "xterm-256color", AGENTAPI_TERM_WIDTH: "200" };

/** The relay as text, so that it runs wherever there is a Node, and nothing of this program has to be there. */
function relayed(argv: string[], quietMs: number): string[] {
  const told = [SETTLED_MS, quietMs].map(String);
  const evaluate = [
    "--input-type=module",
    "--eval",
    ownSource("services/host-agent/runner/agentapi/relay.ts"),
  ];
  return ["node", ...evaluate, "--", ...told, "--", ...argv];
}

export function agentapiRunner(agent: AgentapiAgent): Runner {
  let version = "";
  return {
    name: agent.name,
    async probe() {
      const found = await probe(agent);
      if (found.ok) version = found.version;
      return found;
    },
    start: (spec, transport) => new AgentapiRun(agent, version, spec, transport),
  };
}

async function probe({ name, argv, look, version }: AgentapiAgent): Promise<Probe> {
  // Where it listens is looked up there.
  if (process.platform === "darwin") return { ok: false, reason: "agentapi is driven on Linux only" };
  const [program = ""] = argv;
  const where = { fileVariable: `runners.${name}.agentapi`, versionVariable: `runners.${name}.version` };
  const file = path.isAbsolute(program) ? program : undefined;
  const found = await findProgram(
    { name: program, lowest: AGENTAPI_LOWEST, ...where },
    { file, look, version },
  );
  if (!found.ok) return found;
  const node = await findProgram(
    { name: "node", lowest: NODE_LOWEST, ...where },
    { file: undefined, look, version: undefined },
  );
  return node.ok ? { ok: true, version: found.version } : node;
}

const FromRelay = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("view"),
    sequence: z.int(),
    status: z.string(),
    screen: z.string(),
    stillMs: z.number(),
  }),
  z.object({ type: z.literal("posted"), order: z.enum(["user", "raw"]), ok: z.boolean() }),
  z.object({ type: z.literal("error"), message: z.string() }),
  z.object({ type: z.literal("ended"), message: z.string() }),
]);

class AgentapiRun implements Run {
  readonly outcome: Promise<RunOutcome>;
  readonly #queue = eventQueue();
  readonly #process: GuestProcess;
  readonly #quietMs: number;
  readonly #dialog: Dialog;
  readonly #did: AgentResult;
  /** What it is still to be told; the first is what is being told to it while `#posting`. */
  readonly #texts: string[];
  #posting = false;
  #hasBegun = false;
  #interrupted = false;
  #isFinished = false;
  #failure: Failure | null = null;
  #complaint = "";
  #closed = false;

  constructor(agent: AgentapiAgent, version: string, { request }: RunSpec, transport: Transport) {
    const { silenceMs = AGENT_DEFAULTS.silenceMs } = request.agent ?? {};
    this.#quietMs = agent.quietMs ?? QUIET_MS;
    this.#texts = [typed(request.prompt ?? "")];
    this.#dialog = new Dialog(request.agent, {
      press: (keys, sequence) => this.#write({ type: "raw", content: keys, sequence }),
      emit: (event) => this.#queue.emit(event),
    });
    this.#did = { ...nothingTold(agent.name), version };
    const lines = new Lines();
    this.#process = transport.start(
      {
        argv: relayed(agent.argv, this.#quietMs),
        env: { ...TERMINAL, ...agent.env },
        stdin: "pipe",
        silenceMs,
      },
      {
        stdout: (bytes) => {
          for (const text of lines.push(bytes)) if (text !== null) this.#hear(text);
        },
        stderr: (bytes) => {
          this.#complaint = complaintWith(this.#complaint, bytes);
        },
      },
    );
    if (request.agent?.model !== undefined)
      this.#fail("agent", `agent.model: the command of runner "${agent.name}" says which model it is`);
    this.outcome = this.#process.finished.then((exit) => {
      this.#close();
      this.#queue.close();
      const did = { ...this.#did, denied: this.#dialog.denied };
      return { exit, failure: this.#verdict(exit), ...(this.#hasBegun ? { agent: did } : {}) };
    });
  }

  get events() {
    return this.#queue.events;
  }

  say(text: string): boolean {
    if (this.#closed) return false;
    this.#texts.push(typed(text));
    this.#interrupted = false;
    this.#queue.emit({ type: "said", text: cutText(text) });
    return true;
  }

  interrupt(): boolean {
    if (this.#closed || !this.#hasBegun) return false;
    this.#interrupted = this.#texts.length === 0;
    this.#write({ type: "raw", content: ESCAPE });
    return true;
  }

  answer(approvalId: string, allow: boolean): boolean {
    return this.#dialog.answer(approvalId, allow);
  }

  #hear(text: string): void {
    const parsed = FromRelay.safeParse(jsonOf(text));
    if (!parsed.success) return this.#queue.emit({ type: "raw", text: cutText(text) });
    const line = parsed.data;
    switch (line.type) {
      case "view":
        return this.#see(line);
      case "posted":
        if (line.order === "raw") return;
        if (line.ok) this.#texts.shift();
        this.#posting = false;
        return;
      case "error":
        return this.#queue.emit({ type: "raw", text: cutText(text) });
      case "ended":
        if (!this.#closed) this.#complaint = `${line.message}: ${this.#complaint}`;
    }
  }

  #see(view: View): void {
    if (this.#closed || this.#posting) return;
    const state = stateOf(view, this.#quietMs);
    if (state === "busy") return;
    const question = questionOn(view.screen);
    if (question !== null && !this.#hasBegun)
      // A first-run dialog: nobody's to answer.
      return this.#fail("setup", `the agent asks something before it takes a prompt: ${question.words}`);
    if (question !== null && this.#dialog.hear(question, view.sequence)) return;
    if (question === null) this.#dialog.over();
    if (this.#hasBegun) this.#show(view.screen);
    while (this.#texts[0] === "") this.#texts.shift();
    const [text] = this.#texts;
    if (text !== undefined && question !== null)
      return this.#fail("agent", `the agent goes on asking: ${question.words}`);
    if (text !== undefined) this.#tell(text, view.sequence);
    else if (state === "quiet") {
      this.#isFinished = true;
      this.#close();
    }
  }

  /** Never to a screen that may ask something by now: the message's Enter would be a yes. */
  #tell(text: string, sequence: number): void {
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      const { sessionId, model, version } = this.#did;
      this.#queue.emit({ type: "started", sessionId, model, version });
    }
    this.#posting = true;
    this.#write({ type: "user", content: text, sequence });
  }

  /** What it shows at the end of a turn, once. */
  #show(screen: string): void {
    // By whole lines: what a cut would leave of a secret could not be told any more.
    const summary =
      screen.length <= SUMMARY_CHARACTERS ? screen : screen.slice(-SUMMARY_CHARACTERS).replace(/^.*\n?/, "");
    if (summary === this.#did.summary) return;
    this.#did.summary = summary;
    this.#queue.emit({ type: "text", text: cutText(screen) });
  }

  #fail(category: Failure["category"], message: string): void {
    this.#failure = { category, message };
    this.#close();
  }

  #verdict(exit: ExitRecord): Failure | null {
    const ended = this.#failure ?? infrastructureFailure(exit, "the agent");
    if (ended !== null) return ended;
    if (this.#interrupted) return { category: "agent", message: "the agent was interrupted" };
    if (this.#isFinished) return null;
    const said = this.#complaint.trim() || `exited ${exit.exitCode}`;
    return this.#hasBegun
      ? { category: "agent", message: `the agent ended before its work was over: ${said}` }
      : { category: "setup", message: `the agent did not begin: ${said}` };
  }

  #write(order: { type: "user" | "raw"; content: string; sequence?: number }): void {
    if (!this.#closed) this.#process.write(Buffer.from(`${JSON.stringify(order)}\n`));
  }

  /** Says nothing more to it, and sees that it ends. */
  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#dialog.over();
    endInTime(this.#process);
  }
}
