// The identifiers that appear as tokens in subjects, so that a subject always says who speaks.
import { z } from "zod";

const ID = /^[a-z0-9][a-z0-9-]{0,62}$/;
const ID_RULE = "1 to 63 characters: lower-case letters, digits and hyphens, not a hyphen first";

/** Speaker tokens that no host may take. */
const RESERVED = new Set(["control", "high", "normal", "low", "scheduler", "tracker", "gateway"]);

export const CONTROL = "control";

export const TaskId = z.string().regex(ID, `expected a task id: ${ID_RULE}`);

export const HostId = z
  .string()
  .regex(ID, `expected a host id: ${ID_RULE}`)
  .refine((id) => !RESERVED.has(id), "this host id is reserved: choose another");

/** `owner/name`, as the forge spells it. */
export const RepositoryName = z
  .string()
  .max(200)
  .regex(/^[\w.-]+(\/[\w.-]+)+$/, 'expected a repository as "owner/name"')
  .refine((name) => !name.split("/").some((part) => part === "." || part === ".."), 'expected "owner/name"');
