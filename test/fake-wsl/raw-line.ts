// A Windows command line: one string. What libuv makes of argv, and what CommandLineToArgvW makes of that again.

/** As libuv quotes an argument (`windowsVerbatimArguments: false`). */
export function quoted(argument: string): string {
  if (argument === "") return '""';
  if (!/[ \t"]/.test(argument)) return argument;
  if (!/["\\]/.test(argument)) return `"${argument}"`;
  return `"${argument.replace(/(\\*)"/g, '$1$1\\"').replace(/(\\+)$/, "$1$1")}"`;
}

/** The rest of a line as argv. */
export function argvOf(line: string): string[] {
  const argv: string[] = [];
  let at = 0;
  while (at < line.length) {
    while (line[at] === " " || line[at] === "\t") at++;
    if (at >= line.length) break;
    let argument = "";
    let inQuotes = false;
    // The first word is a program's name, and knows no backslashes.
    const escapes = argv.length > 0;
    for (; at < line.length && (inQuotes || (line[at] !== " " && line[at] !== "\t")); at++) {
      const backslashes = escapes ? (/^\\*/.exec(line.slice(at))?.[0].length ?? 0) : 0;
      if (backslashes > 0 && line[at + backslashes] === '"') {
        argument += "\\".repeat(backslashes >> 1);
        at += backslashes - (backslashes % 2 === 0 ? 1 : 0);
        if (backslashes % 2 === 1) argument += '"';
      } else if (backslashes > 0) {
        argument += "\\".repeat(backslashes);
        at += backslashes - 1;
      } else if (line[at] === '"') inQuotes = !inQuotes;
      else argument += line[at];
    }
    argv.push(argument);
  }
  return argv;
}

/** The next word, cut at blanks alone, and what is left. Quotes count only where the option takes them. */
export function nextWord(line: string, takesQuotes = false): { word: string; rest: string } {
  const text = line.replace(/^[ \t]+/, "");
  const pattern = takesQuotes ? /^(?:"([^"]*)"|(\S*))[ \t]*/ : /^()(\S*)[ \t]*/;
  const [all = "", inQuotes, plain] = pattern.exec(text) ?? [];
  return { word: inQuotes || (plain ?? ""), rest: text.slice(all.length) };
}
