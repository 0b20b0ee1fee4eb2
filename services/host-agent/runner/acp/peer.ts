// JSON-RPC over lines, as the Agent Client Protocol has it: who asked what, and what is the answer. It knows no method.
import { z } from "zod";
import { jsonOf, Lines } from "../lines.ts";

export interface RpcError {
  code: number;
  message: string;
  data?: unknown;
}

/** `error` is null where the other side has gone without an answer. */
export type Answer = { ok: true; result: unknown } | { ok: false; error: RpcError | null };

export interface PeerPorts {
  write(text: string): void;
  /** It asks for something: `respond` or `refuse` has to follow. */
  onRequest(id: RequestId, method: string, parameters: unknown): void;
  onNotification(method: string, parameters: unknown, text: string): void;
  /** A line that is no message. */
  onNoise(text: string): void;
}

const RequestId = z.union([z.string(), z.number()]);
export type RequestId = z.infer<typeof RequestId>;

const Message = z.union([
  z.object({ id: RequestId, method: z.string(), params: z.unknown().optional() }),
  z.object({ method: z.string(), params: z.unknown().optional() }),
  z.object({
    id: z.number(),
    error: z.object({ code: z.number(), message: z.string(), data: z.unknown().optional() }),
  }),
  z.object({ id: z.number(), result: z.unknown() }),
]);

const METHOD_NOT_FOUND = -32_601;

export class Peer {
  readonly #ports: PeerPorts;
  readonly #lines = new Lines();
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #asked = 0;
  #closed = false;

  constructor(ports: PeerPorts) {
    this.#ports = ports;
  }

  hear(bytes: Buffer): void {
    for (const text of this.#lines.push(bytes)) if (text !== null && text.trim() !== "") this.#read(text);
  }

  request(method: string, params: unknown): Promise<Answer> {
    if (this.#closed) return Promise.resolve({ ok: false, error: null });
    const id = ++this.#asked;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#waiting.set(id, resolve);
    this.#send({ id, method, params });
    return promise;
  }

  notify(method: string, params: unknown): void {
    this.#send({ method, params });
  }

  respond(id: RequestId, result: unknown): void {
    this.#send({ id, result });
  }

  refuse(id: RequestId, method: string): void {
    this.#send({ id, error: { code: METHOD_NOT_FOUND, message: `this client knows no ${method}` } });
  }

  /** Nothing comes from the other side any more, and nothing is said to it. */
  close(): void {
    this.#closed = true;
    for (const resolve of this.#waiting.values()) resolve({ ok: false, error: null });
    this.#waiting.clear();
  }

  #send(message: object): void {
    if (!this.#closed) this.#ports.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  #read(text: string): void {
    const parsed = Message.safeParse(jsonOf(text));
    if (!parsed.success) return this.#ports.onNoise(text);
    const message = parsed.data;
    if ("method" in message) {
      if ("id" in message) this.#ports.onRequest(message.id, message.method, message.params);
      else this.#ports.onNotification(message.method, message.params, text);
      return;
    }
    const resolve = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ("error" in message) resolve?.({ ok: false, error: message.error });
    else resolve?.({ ok: true, result: message.result });
  }
}
