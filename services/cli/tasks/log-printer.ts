// Prints what attempts say: output goes to standard output as plain text, the phases to standard error. It keeps lines
// of different sources apart, and nothing of what it is given reaches the terminal as more than text.
import type { TaskLog } from "../../../shared/client/task-log.ts";
import { type CommonOptions, tell } from "../session.ts";
import { EscapeStripper, jsonLine, plainLine } from "../terminal/plain-text.ts";
import { onStderr } from "../terminal/table.ts";

export interface LogPrinter {
  print(log: TaskLog): void;
  /** Ends a line that is open. */
  endLine(): void;
}

export function logPrinter(options: CommonOptions): LogPrinter {
  const strippers = new Map<string, EscapeStripper>();
  let lineIsOpen = false;
  let lastSource = "";
  const endLine = () => {
    if (lineIsOpen) process.stdout.write("\n");
    lineIsOpen = false;
  };
  return {
    print(log) {
      if (options.json) return void process.stdout.write(jsonLine(log));
      const source = `${log.attempt} ${log.source}`;
      if (source !== lastSource) endLine();
      lastSource = source;
      if (log.source === "phase")
        return tell(
          options,
          onStderr("dim", `── ${log.hostId}, attempt ${log.attempt}: ${plainLine(log.text)}`),
        );
      const stripper = strippers.get(source) ?? new EscapeStripper();
      strippers.set(source, stripper);
      const text = stripper.push(log.text);
      process.stdout.write(text);
      if (text !== "") lineIsOpen = !text.endsWith("\n");
    },
    endLine,
  };
}
