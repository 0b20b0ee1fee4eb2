// What becomes of tools that ask for leave: by the task's policy, or by a person in a limited time. Whoever is not
// answered by then is denied.
import { AGENT_DEFAULTS, type DeployRequest } from "../../../shared/contracts/deploy-request.ts";

/** What a tool is told that a task's policy denies. */
export const NO_TOOL_MAY_ASK = "this task allows no tool that asks for approval";

/** `Asked` is what its runner has to know to answer. */
export class Approvals<Asked extends object> {
  readonly policy: "deny" | "ask" | "allow";
  /** How long one waits for a person. */
  readonly timeoutMs: number;
  readonly #waiting = new Map<string, { asked: Asked; timer: NodeJS.Timeout }>();

  constructor({
    silenceMs = AGENT_DEFAULTS.silenceMs,
    approvals = AGENT_DEFAULTS.approvals,
  }: NonNullable<DeployRequest["agent"]> = {}) {
    this.policy = approvals;
    // An agent is silent while it waits.
    this.timeoutMs = Math.min(AGENT_DEFAULTS.approvalMs, silenceMs / 2);
  }

  /** `deny` is told why if nobody has taken it by then. */
  wait(id: string, asked: Asked, deny: (reason: string) => void): void {
    const timer = setTimeout(() => {
      if (this.take(id) !== null) deny(`nobody approved it within ${Math.round(this.timeoutMs / 1_000)} s`);
    }, this.timeoutMs);
    this.#waiting.set(id, { asked, timer });
  }

  /** What waits under this id, for whoever answers it; null if nothing does any more. */
  take(id: string): Asked | null {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return null;
    clearTimeout(waiting.timer);
    this.#waiting.delete(id);
    return waiting.asked;
  }

  has(id: string): boolean {
    return this.#waiting.has(id);
  }

  /** Nobody is to answer any more: what has waited until now. */
  clear(): Asked[] {
    return [...this.#waiting.keys()].flatMap((id) => this.take(id) ?? []);
  }
}
