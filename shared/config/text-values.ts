// What the text of an environment variable stands for, each kind with the words for what it is not. Pure.
import path from "node:path";
import { z } from "zod";
import type { SyncInterval } from "../nats-server/server-config.ts";
import { parseDuration, parseSize } from "./quantities.ts";
import { parseWhen } from "./when.ts";

export const flag = z.enum(["0", "1"], "expected 0 or 1").transform((value) => value === "1");
export const whole = (minimum: number, maximum: number) =>
  z.coerce.number(`expected a number`).int().min(minimum).max(maximum);
export const labels = z.string().transform((text, context) => {
  const pairs = text.split(",").filter((pair) => pair.trim() !== "");
  const entries = pairs.map((pair) => pair.trim().split("="));
  if (entries.some((entry) => entry.length !== 2 || entry[0] === "")) {
    context.addIssue("expected key=value pairs with commas between");
    return z.NEVER;
  }
  return Object.fromEntries(entries) as Record<string, string>;
});

export const paths = z.string().transform((text, context) => {
  const entries = text.split(":").filter((entry) => entry !== "");
  if (entries.some((entry) => !path.isAbsolute(entry)))
    context.addIssue("expected full paths with colons between");
  return entries;
});

export const when = z
  .string()
  .max(1_000)
  .transform((text, context) => {
    const parsed = parseWhen(text);
    if (parsed.ok) return parsed.when;
    context.addIssue(parsed.message);
    return z.NEVER;
  });

export const size = z.string().transform((text, context) => {
  const bytes = parseSize(text);
  if (bytes !== null) return bytes;
  context.addIssue("expected a size such as 8GB or 512MiB");
  return z.NEVER;
});

/** Null for `finish`. */
export const grace = z.string().transform((text, context) => {
  if (text === "finish") return null;
  const ms = parseDuration(text);
  if (ms !== null) return ms;
  context.addIssue("expected finish, or a duration such as 10m");
  return z.NEVER;
});

export const syncInterval = z
  .string()
  .regex(/^(always|[1-9]\d{0,5}(ms|s|m|h))$/, "expected always, or a time such as 1s or 2m")
  .transform((text) => text as SyncInterval);
