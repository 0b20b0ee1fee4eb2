// The flags of programs that people run by `npm run … --`: what there are, and what is wrong with those that were given,
// in words.
import { parseArgs } from "node:util";

/** Each flag's value as it was written, or its default. It ends the program by itself after `--help` (0) or an unknown flag (2). */
export function readFlags<Name extends string>(
  program: string,
  defaults: Record<Name, string>,
): Record<Name, string> {
  const names = Object.keys(defaults) as Name[];
  const shown = names.map(
    (name) => `[--${name} ${defaults[name] === "" ? name.toUpperCase() : defaults[name]}]`,
  );
  const usage = `npm run ${program} -- ${shown.join(" ")}`;
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" as const }]));
  try {
    const { help, ...given } = parseArgs({ options: { ...options, help: { type: "boolean" } } }).values;
    if (help !== true) return { ...defaults, ...given };
    process.stdout.write(`${usage}\n`);
  } catch (error) {
    refuse(`${(error as Error).message}\n${usage}`);
  }
  process.exit(0);
}

/** A flag's number, at least so much; it ends the program if it is none. */
export function atLeast(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value >= least) return value;
  return refuse(`--${flag} must be a number, at least ${least}; it is ${JSON.stringify(text)}`);
}

export function refuse(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
