// Lines of PowerShell, which does what no plain command of Windows does without a secret on its command line, or without
// words that are translated. The script goes to its standard input. Pure.

export const powershell = {
  argv: ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", "-"],
  /** The statements are done in order; the first that fails ends it with exit code 1 and its words on standard error. */
  script: (statements: string[]): string =>
    // In one line: what comes by standard input is carried out line by line.
    `$ErrorActionPreference = 'Stop'; try { ${statements.join("; ")}; exit 0 } catch { [Console]::Error.WriteLine($_); exit 1 }\n`,
};

/** A text as it is. PowerShell takes curly quotes for straight ones. */
export const literal = (text: string): string => `'${text.replaceAll(/['‘’‚‛]/g, "$&$&")}'`;
