// A plan as text, for somebody who wants to know what would be written and run. Pure.
import type { Step } from "./plan.ts";

const ONLY = { new: " (only if it is not installed yet)", upgrade: " (only if it is installed already)" };

export const planText = (steps: Step[]): string => steps.map(stepText).join("");

function stepText(step: Step): string {
  const why = `# ${step.why}${step.when === undefined ? "" : ONLY[step.when]}`;
  const head = step.why === "" ? "" : `${why}\n`;
  switch (step.do) {
    case "empty":
      return `${head}mesh drain HOST --wait, unless it is drained or away\n`;
    case "fill":
      return `${head}mesh uncordon HOST, if that was drained here\n`;
    case "folder":
      return `${head}folder ${step.path}\n`;
    case "copy":
      return `${head}copy ${step.from} to ${step.to} (mode ${octal(step.mode)})\n`;
    case "remove":
      return `${head}remove ${step.path}\n`;
    case "write":
      return `${head}write ${step.path} (mode ${octal(step.mode)})\n${indented(step.text)}`;
    case "run":
      return `${head}run ${step.argv.map(word).join(" ")}\n${step.input === undefined ? "" : `  with this on its standard input:\n${indented(step.input)}`}`;
  }
}

const octal = (mode: number): string => mode.toString(8).padStart(4, "0");
const word = (text: string): string => (/^[\w@%+=:,./\\*-]+$/.test(text) ? text : JSON.stringify(text));
const indented = (text: string): string =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => (line === "" ? "\n" : `    ${line}\n`))
    .join("");
