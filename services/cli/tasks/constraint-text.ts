// What a person writes after --require, and the constraint it means. Pure.
import type { Constraint } from "../../../shared/contracts/constraint.ts";
import { UsageError } from "../outcome.ts";

const LABEL = String.raw`([^\s=!()]+)`;
const EXISTS = new RegExp(`^${LABEL}(?:\\s+exists)?$`);
const EQUALS = new RegExp(`^${LABEL}\\s*(!?=)\\s*(.*)$`);
const IN = new RegExp(`^${LABEL}\\s+in\\s*\\((.*)\\)$`);

/** `gpu`, `gpu exists`, `os=windows`, `zone!=eu` or `zone in (a, b)`. */
export function parseConstraint(text: string): Constraint {
  const line = text.trim();
  const exists = EXISTS.exec(line);
  if (exists !== null) return { label: exists[1] ?? "", operator: "exists", values: [] };
  const [, label = "", operator = "", value = ""] = EQUALS.exec(line) ?? [];
  if (label !== "") return { label, operator: operator as "=" | "!=", values: [value.trim()] };
  const [, of = "", list = ""] = IN.exec(line) ?? [];
  const values = list.split(",").map((one) => one.trim());
  if (of !== "" && values.every((one) => one !== "")) return { label: of, operator: "in", values };
  throw new UsageError(
    `--require: expected "gpu exists", "os=windows", "zone!=eu" or "zone in (a, b)", not "${text}"`,
  );
}
