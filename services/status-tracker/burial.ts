// Sets aside what nobody can decode, one message after the other, each again until the bus has it. The log is read on
// meanwhile.
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { Bus } from "../../shared/bus/connect.ts";
import { setAside } from "../../shared/bus/set-aside.ts";
import type { DeadMessage } from "../../shared/contracts/dead.ts";
import { factSubject, type Malformed } from "../../shared/contracts/fact.ts";

const PAYLOAD_BYTES = 65_536;
const AGAIN_MS = 2_000;

export class Burial implements Disposable {
  readonly #bus: Bus;
  readonly #log: Logger;
  readonly #over = new AbortController();
  readonly #waiting: DeadMessage[] = [];
  #working = false;

  constructor(bus: Bus, log: Logger) {
    this.#bus = bus;
    this.#log = log;
  }

  add({ sequence, problem, taskId, kind, speaker }: Malformed, payload: Uint8Array): void {
    this.#waiting.push({
      sequence,
      subject: factSubject.build({ taskId, kind, speaker }),
      problem,
      payload: Buffer.from(payload.subarray(0, PAYLOAD_BYTES)).toString("base64"),
    });
    if (!this.#working) void this.#work();
  }

  [Symbol.dispose](): void {
    this.#over.abort();
  }

  async #work(): Promise<void> {
    this.#working = true;
    for (
      let next = this.#waiting[0];
      next !== undefined && !this.#over.signal.aborted;
      next = this.#waiting[0]
    ) {
      const { sequence, subject, problem } = next;
      try {
        const buried = await setAside(this.#bus, next);
        if (buried === "stored")
          this.#log.warn({ sequence, subject, problem }, "set aside: nobody can decode it");
        this.#waiting.shift();
      } catch (error) {
        this.#log.error({ sequence, error, waiting: this.#waiting.length }, "not set aside yet; tried again");
        await delay(AGAIN_MS, undefined, { signal: this.#over.signal }).catch(() => {});
      }
    }
    this.#working = false;
  }
}
