// `[host]` of the mesh's configuration file: settings of this machine's own host agent, by the names of their environment
// variables, which come first. Secrets are none of them: others may read the file.
import { z } from "zod";
import {
  describeVariable,
  ENVIRONMENT_NAMES,
  type EnvironmentName,
  problemOfVariable,
  readEnvironment,
} from "./environment.ts";

/** What concerns one host alone, and no secret. */
const HOST_NAMES = ENVIRONMENT_NAMES.filter((name) => /^MESH_(HOST|WSL|CLAUDE|CODEX)_/.test(name));

/** TOML has kinds of its own for what a variable has as text. */
const textOf = (value: string | number | boolean): string =>
  typeof value === "boolean" ? (value ? "1" : "0") : String(value);

const valueOf = (name: EnvironmentName) =>
  z
    .union([z.string().min(1), z.int(), z.boolean()], "expected a text, a whole number, true or false")
    .transform((value, context) => {
      const text = textOf(value);
      const problem = problemOfVariable(name, text);
      if (problem === null) return text;
      context.addIssue(problem);
      return z.NEVER;
    })
    .optional();

export const HostTable = z.strictObject(Object.fromEntries(HOST_NAMES.map((name) => [name, valueOf(name)])));
export type HostTable = z.infer<typeof HostTable>;

/** The environment with the table beneath it; an empty variable counts as not set. */
export function withHostTable(env: NodeJS.ProcessEnv, table: HostTable): NodeJS.ProcessEnv {
  const set = Object.entries(env).filter(([, value]) => value !== undefined && value !== "");
  return { ...table, ...Object.fromEntries(set) };
}

/** All of it, as comments, with the defaults that there are. */
export function hostTableExample(): string {
  const defaults = readEnvironment({});
  const shown = (name: EnvironmentName): string => {
    const value = name === "MESH_HOST_WHEN" ? "always" : defaults[name];
    if (!isScalar(value) || problemOfVariable(name, textOf(value)) !== null) return '""';
    return JSON.stringify(value);
  };
  return HOST_NAMES.map((name) => `# ${describeVariable(name)}\n# ${name} = ${shown(name)}\n`).join("\n");
}

const isScalar = (value: unknown): value is string | number | boolean =>
  ["string", "number", "boolean"].includes(typeof value);
