// What a task demands of the labels of its host. One judge for the scheduler, which looks for such a host, and for the
// host, which has the last word. Pure.
import { z } from "zod";

const OPERATORS = ["=", "!=", "in", "exists"] as const;
type Operator = (typeof OPERATORS)[number];

/** Values that one `in` may name. */
const VALUES_MAX = 32;

const TAKES: Record<Operator, { values: [minimum: number, maximum: number]; words: string }> = {
  "=": { values: [1, 1], words: "one value" },
  "!=": { values: [1, 1], words: "one value" },
  in: { values: [1, VALUES_MAX], words: `1 to ${VALUES_MAX} values` },
  exists: { values: [0, 0], words: "no value" },
};

/** `!=` holds too where the host has no such label. A label `version.<name>` is the host's version of that program. */
export const Constraint = z
  .strictObject({
    label: z.string().min(1).max(63),
    operator: z.enum(OPERATORS),
    values: z.array(z.string().max(63)).default([]),
  })
  .check(({ value: { operator, values }, issues }) => {
    const [minimum, maximum] = TAKES[operator].values;
    if (values.length < minimum || values.length > maximum)
      issues.push({
        code: "custom",
        message: `expected ${TAKES[operator].words} for "${operator}"`,
        input: values,
        path: ["values"],
      });
  });
export type Constraint = z.infer<typeof Constraint>;

/** Of a host, what constraints are about. */
export interface Labelled {
  labels: Record<string, string>;
  versions: Record<string, string>;
}

const VERSION = "version.";

export function meets({ labels, versions }: Labelled, { label, operator, values }: Constraint): boolean {
  const [from, key] = label.startsWith(VERSION) ? [versions, label.slice(VERSION.length)] : [labels, label];
  const value = Object.hasOwn(from, key) ? from[key] : undefined;
  switch (operator) {
    case "exists":
      return value !== undefined;
    case "!=":
      return value === undefined || !values.includes(value);
    case "=":
    case "in":
      return value !== undefined && values.includes(value);
  }
}

/** Everything that a request demands of labels; null if nothing. */
export function constraintsOf(request: {
  labels?: Record<string, string> | undefined;
  constraints?: Constraint[] | undefined;
}): Constraint[] | null {
  const all = [
    ...Object.entries(request.labels ?? {}).map(
      ([label, value]): Constraint => ({ label, operator: "=", values: [value] }),
    ),
    ...(request.constraints ?? []),
  ];
  return all.length > 0 ? all : null;
}

export const constraintInWords = ({ label, operator, values }: Constraint): string =>
  operator === "exists"
    ? label
    : operator === "in"
      ? `${label} in (${values.join(", ")})`
      : `${label}${operator}${values[0]}`;
