// A stream's bytes as whole lines of text, however they are cut. It holds no more than one line, and of one that is
// too long nothing.

/** A line of an agent may carry a whole picture. */
const LINE_MAX_BYTES = 32 * 1_048_576;
const NEWLINE = 0x0a;

export class Lines {
  #pieces: Buffer[] = [];
  #bytes = 0;
  #tooLong = false;

  /** The lines that these bytes complete, without their ends; null for one that was too long. */
  push(bytes: Buffer): (string | null)[] {
    const lines: (string | null)[] = [];
    let from = 0;
    for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, from)) {
      this.#add(bytes.subarray(from, at));
      lines.push(this.#take());
      from = at + 1;
    }
    this.#add(bytes.subarray(from));
    return lines;
  }

  #add(bytes: Buffer): void {
    this.#bytes += bytes.length;
    this.#tooLong ||= this.#bytes > LINE_MAX_BYTES;
    if (this.#tooLong) this.#pieces = [];
    else if (bytes.length > 0) this.#pieces.push(bytes);
  }

  #take(): string | null {
    const line = this.#tooLong ? null : Buffer.concat(this.#pieces).toString();
    this.#pieces = [];
    this.#bytes = 0;
    this.#tooLong = false;
    return line;
  }
}

/** What a line says; undefined for one that is no JSON. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
