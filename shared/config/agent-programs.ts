// Coding agents that a host's operator names in its configuration, besides those that every host knows: how each is
// started, and what it is given.
import path from "node:path";
import { z } from "zod";
import { BUILT_IN_RUNNERS, RunnerName } from "../contracts/task.ts";

/** Program and arguments. */
const Argv = z.array(z.string().min(1).max(32_768)).min(1).max(1_000);
const VariableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,254}$/, "expected an environment variable's name");

const AgentProgram = z.strictObject({
  /** A program that speaks the Agent Client Protocol on its stdin and stdout. */
  acp: Argv,
  /** The only version, by its own account, that is taken. */
  version: z.string().optional(),
  /** Variables of the host agent's own environment that it gets, such as its provider's key: no output keeps them. */
  secrets: z.array(VariableName).max(100).default([]),
  /** What else it gets. */
  env: z.record(VariableName, z.string().max(32_768)).default({}),
  /** The way in which it is to be authenticated, and the mode in which it works, by its own names. */
  auth: z.string().min(1).optional(),
  mode: z.string().min(1).optional(),
});
export type AgentProgram = z.infer<typeof AgentProgram>;

/** By the name that tasks ask for. */
export const AgentPrograms = z.record(
  RunnerName.refine(
    (name) => !(BUILT_IN_RUNNERS as readonly string[]).includes(name),
    "a host knows a runner of this name without being told: choose another one",
  ),
  AgentProgram,
);
export type AgentPrograms = z.infer<typeof AgentPrograms>;

/** What its command names by a full path has to be there wherever it runs. */
export const pathsOf = ({ acp }: AgentProgram): string[] =>
  acp.filter((argument) => path.isAbsolute(argument));
