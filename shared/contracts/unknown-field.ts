// Words for a request that does not fit its schema: what was expected where, and for a field nobody knows,
// the nearest known name, so that a typing error shows.
import { z } from "zod";

export function explainIssues(error: z.ZodError, schema: z.ZodType): string {
  // A name that nobody knows first: it explains why another one is missing.
  const isUnknown = ({ code }: z.core.$ZodIssue) => code === "unrecognized_keys";
  const issues = [...error.issues.filter(isUnknown), ...error.issues.filter((issue) => !isUnknown(issue))];
  return issues
    .slice(0, 5)
    .map((issue) => {
      const path = issue.path.map(String);
      const at = path.length > 0 ? `${path.join(".")}: ` : "";
      if (issue.code === "invalid_key")
        return `${at}${issue.issues.map(({ message }) => message).join(", ")}`;
      if (issue.code !== "unrecognized_keys") return `${at}${issue.message}`;
      const known = knownFields(schema, path);
      return issue.keys
        .map((key) => {
          const nearest = nearestName(key, known);
          const hint = nearest === null ? `known are: ${known.join(", ")}` : `did you mean "${nearest}"?`;
          return `${at}unknown field "${key}"; ${hint}`;
        })
        .join("; ");
    })
    .join("; ");
}

function knownFields(schema: z.ZodType, path: string[]): string[] {
  let here: z.ZodType = unwrap(schema);
  for (const step of path) {
    if (here instanceof z.ZodObject) here = unwrap(here.shape[step] as z.ZodType);
    else if (here instanceof z.ZodArray) here = unwrap(here.element as z.ZodType);
    else if (here instanceof z.ZodRecord) here = unwrap(here.valueType as z.ZodType);
    else return [];
  }
  return here instanceof z.ZodObject ? Object.keys(here.shape) : [];
}

function unwrap(schema: z.ZodType): z.ZodType {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodNullable || inner instanceof z.ZodDefault)
    inner = inner.unwrap() as z.ZodType;
  return inner;
}

/** The known name at most a third of the key's letters away, ignoring case; null when none is near. */
function nearestName(key: string, known: string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(key.length / 3)) + 1;
  for (const name of known) {
    const distance = editDistance(key.toLowerCase(), name.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }
  return best;
}

/** Levenshtein's distance. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substituted));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
