// What an agent's screen asks for, and what it is answered: by the task's policy, or by a person in time. It answers the
// screen that was seen, and no later one.
import type { AgentEvent } from "../../../../shared/contracts/agent-event.ts";
import type { DeployRequest } from "../../../../shared/contracts/deploy-request.ts";
import { cutText } from "../agent-result.ts";
import { Approvals, NO_TOOL_MAY_ASK } from "../approvals.ts";
import { type Question, wordsOf } from "./screen.ts";

interface Asked {
  question: Question;
  id: string;
  /** Of the view that last showed it. */
  sequence: number;
  answers: number;
}

/** A screen does not tell in a way to rely on what it is that asks. */
const TOOL = "screen";
/** What still stands there after so many answers only looks like a question. */
const ANSWERS_MAX = 2;
const NO_YES = "what would be a yes there is not known";

export class Dialog {
  readonly #press: (keys: string, sequence: number) => void;
  readonly #emit: (event: AgentEvent) => void;
  readonly #approvals: Approvals<Question>;
  #asked: Asked | null = null;
  denied = 0;

  constructor(
    agent: DeployRequest["agent"],
    ports: { press(keys: string, sequence: number): void; emit(event: AgentEvent): void },
  ) {
    this.#approvals = new Approvals(agent);
    this.#press = ports.press;
    this.#emit = ports.emit;
  }

  /** The screen shows this question; false if it has been answered often enough. */
  hear(question: Question, sequence: number): boolean {
    const known = this.#asked;
    if (known === null || wordsOf(known.question.words) !== wordsOf(question.words)) {
      this.over();
      this.#asked = { question, id: String(sequence), sequence, answers: 0 };
      this.#decide(this.#asked);
      return true;
    }
    const isNew = known.sequence !== sequence;
    known.sequence = sequence;
    if (known.answers >= ANSWERS_MAX) return false;
    if (isNew && !this.#approvals.has(known.id)) this.#decide(known);
    return true;
  }

  /** False if nobody waits for that any more. */
  answer(approvalId: string, allow: boolean): boolean {
    const question = this.#approvals.take(approvalId);
    if (question === null) return false;
    if (!allow) this.#deny("it was not approved");
    else if (question.yes === null) this.#deny(NO_YES);
    else this.#reply(question.yes);
    return true;
  }

  /** The screen asks nothing more. */
  over(): void {
    this.#asked = null;
    this.#approvals.clear();
  }

  #decide({ question, id }: Asked): void {
    const { policy, timeoutMs } = this.#approvals;
    if (policy === "deny") return this.#deny(NO_TOOL_MAY_ASK);
    if (policy === "allow") return question.yes === null ? this.#deny(NO_YES) : this.#reply(question.yes);
    this.#approvals.wait(id, question, (reason) => this.#deny(reason));
    const input = cutText(JSON.stringify({ description: question.words }));
    this.#emit({ type: "approval", id, tool: TOOL, input, timeoutMs });
  }

  #reply(keys: string): void {
    if (this.#asked === null) return;
    this.#asked.answers++;
    this.#press(keys, this.#asked.sequence);
  }

  #deny(reason: string): void {
    if (this.#asked === null) return;
    this.#reply(this.#asked.question.no);
    this.denied++;
    this.#emit({ type: "denied", tool: TOOL, reason });
  }
}
