// What a host agent and the program that makes trees beside its instances say to one another: lines of JSON, and after
// one that announces them, bytes. Errors travel as values with their codes.
import type { KeptWorkspace } from "./kept-workspaces.ts";
import type { PreparedTree } from "./tree.ts";
import type { WantedTree } from "./workspaces.ts";

export type Call =
  | { call: "prepare"; wanted: WantedTree }
  /** So many bytes of the patch follow. */
  | { call: "applyPatch"; tree: PreparedTree; gitDir: string; bytes: number }
  | { call: "keep"; about: Omit<KeptWorkspace, "until"> }
  | { call: "remove"; attemptKey: string }
  | { call: "isDiskFull" }
  | { call: "readings" }
  /** For a program that instances may use. */
  | { call: "look"; name: string; file: string | undefined }
  /** Of a program that speaks ACP. */
  | { call: "greet"; argv: string[]; env: Record<string, string> };

export type FromHost =
  | ({ id: number } & Call)
  | { id: number; abort: true }
  /** The answer to a question for credentials; empty for none. */
  | { credential: number; text: string };

export type FromProgram =
  | { id: number; value: unknown }
  | { id: number; error: { message: string; code: string | null } }
  /** git asks for credentials of this machine's (`get`), or tells whether they were good (`store`, `erase`). */
  | { credential: number; action: string; text: string };

const NEW_LINE = 0x0a;
const LINE_MAX_BYTES = 4 * 1_048_576;

export const encodeLine = (message: FromHost | FromProgram): Buffer =>
  Buffer.from(`${JSON.stringify(message)}\n`);

/** Takes a stream's chunks, however they are cut. `hear` tells how many bytes follow the line that it was given. */
export class LineDecoder<Message> {
  readonly #hear: (message: Message) => number;
  readonly #take: (bytes: Buffer) => void;
  #rest: Buffer = Buffer.alloc(0);
  #bytesLeft = 0;

  constructor(hear: (message: Message) => number, take: (bytes: Buffer) => void = () => {}) {
    this.#hear = hear;
    this.#take = take;
  }

  push(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = Buffer.alloc(0);
    while (bytes.length > 0) {
      if (this.#bytesLeft > 0) {
        const part = bytes.subarray(0, this.#bytesLeft);
        this.#bytesLeft -= part.length;
        bytes = bytes.subarray(part.length);
        this.#take(part);
        continue;
      }
      const end = bytes.indexOf(NEW_LINE);
      if (end === -1) {
        if (bytes.length > LINE_MAX_BYTES) throw new Error(`a line of more than ${LINE_MAX_BYTES} bytes`);
        this.#rest = bytes;
        return;
      }
      this.#bytesLeft = this.#hear(JSON.parse(bytes.toString("utf8", 0, end)) as Message);
      bytes = bytes.subarray(end + 1);
    }
  }
}
