// Writes the generated parts of the documentation anew: the lifecycle's diagram, the subject table, and the list
// of environment variables. A test fails when they are not what this writes.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { generatedDocs } from "./generated-docs.ts";

const ROOT = path.resolve(import.meta.dirname, "..");

for (const [file, write] of Object.entries(generatedDocs)) {
  const at = path.join(ROOT, file);
  writeFileSync(at, write(readFileSync(at, "utf8")));
}
