// Live progress on standard error: one line that is drawn again and again in a terminal, plain lines elsewhere.
// What is put in must be plain text already.
import { cut } from "./table.ts";

export interface Progress extends Disposable {
  /** True where the one line is drawn; elsewhere only what `say` is given is seen. */
  readonly live: boolean;
  draw(line: string): void;
  say(line: string): void;
}

interface Output {
  write(text: string): unknown;
  isTTY?: boolean | undefined;
  columns?: number | undefined;
}

export function createProgress(quiet = false, output: Output = process.stderr): Progress {
  const live = !quiet && output.isTTY === true && process.env.TERM !== "dumb";
  let drawn = "";
  const erase = () => {
    if (drawn !== "") output.write("\r\u001b[2K");
  };
  return {
    live,
    draw(line) {
      if (!live) return;
      // A terminal that nobody has sized says 0.
      const next = cut(line, (output.columns || 80) - 1);
      if (next === drawn) return;
      erase();
      output.write(next);
      drawn = next;
    },
    say(line) {
      if (quiet) return;
      erase();
      output.write(`${line}\n${drawn}`);
    },
    [Symbol.dispose]() {
      erase();
      drawn = "";
    },
  };
}
