// A TOML file by its schema. What does not fit is refused with the file, the place or key, and the nearest known name.
import { parse, TomlError } from "smol-toml";
import type { z } from "zod";
import { explainIssues } from "../contracts/unknown-field.ts";
import { SettingError } from "./environment.ts";

/** `file` is named in the `SettingError` that it throws. */
export function parseToml<Schema extends z.ZodType>(
  text: string,
  file: string,
  schema: Schema,
): z.output<Schema> {
  let table: unknown;
  try {
    table = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [summary] = error.message.split("\n");
    throw new SettingError(`${file}:${error.line}:${error.column}: ${summary}`);
  }
  const parsed = schema.safeParse(table);
  if (!parsed.success) throw new SettingError(`${file}: ${explainIssues(parsed.error, schema)}`);
  return parsed.data;
}
