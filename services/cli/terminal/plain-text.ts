// What others wrote (output of tasks, branch names, messages) on its way to somebody's terminal: nothing in it may
// move the cursor, colour, retitle, or reverse the text. Pure.

/** Right-to-left overrides and isolates, with which text shows as what it is not. */
const BIDIRECTIONAL = /[\u202a-\u202e\u2066-\u2069]/g;

/** Removes escape sequences and control characters other than newline and tab, over chunks cut anywhere. */
export class EscapeStripper {
  #state: "text" | "escape" | "sequence" | "string" | "string-escape" = "text";
  #carriageReturn = false;

  push(text: string): string {
    let plain = "";
    for (const character of text.replace(BIDIRECTIONAL, "")) plain += this.#next(character);
    return plain;
  }

  #next(character: string): string {
    const code = character.charCodeAt(0);
    // A line's end ends every sequence, so that an open one cannot swallow the rest.
    if (character === "\n") {
      this.#state = "text";
      const again = this.#carriageReturn;
      this.#carriageReturn = false;
      return again ? "" : "\n";
    }
    this.#carriageReturn = false;
    switch (this.#state) {
      case "escape":
        if (character === "[") this.#state = "sequence";
        else if ("]PX^_".includes(character)) this.#state = "string";
        // Intermediate characters, such as in ESC ( B, come before the final one.
        else if (code < 0x20 || code > 0x2f) this.#state = "text";
        return "";
      case "sequence":
        if (code < 0x20 || code === 0x7f) return this.#control(code);
        if (code >= 0x40) this.#state = "text";
        return "";
      case "string":
        if (code === 0x07 || code === 0x9c) this.#state = "text";
        else if (code === 0x1b) this.#state = "string-escape";
        return "";
      case "string-escape":
        this.#state = character === "\\" ? "text" : "string";
        return "";
      default:
        if (character === "\t" || (code >= 0x20 && code < 0x7f) || code > 0x9f) return character;
        return this.#control(code);
    }
  }

  #control(code: number): string {
    this.#state = "text";
    if (code === 0x1b) this.#state = "escape";
    else if (code === 0x9b) this.#state = "sequence";
    else if (code === 0x9d || code === 0x90 || code === 0x98 || code === 0x9e || code === 0x9f)
      this.#state = "string";
    // Progress that overwrites its line becomes lines.
    else if (code === 0x0d) {
      this.#carriageReturn = true;
      return "\n";
    }
    return "";
  }
}

/** A whole text; newlines and tabs stay. */
export const plainText = (text: string): string => new EscapeStripper().push(text);

/** A text in one line. */
export const plainLine = (text: string): string =>
  plainText(text)
    .replace(/[\n\t ]+/g, " ")
    .trim();

/** JSON in one line whose bytes are harmless too: JSON itself leaves 7F to 9F as they are. */
export const jsonLine = (value: unknown): string =>
  `${JSON.stringify(value).replace(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )}\n`;
