// Coding agents that a host's operator names in its configuration, besides those that every host knows: how each is
// started, what it is given, and by which protocol it is spoken to.
import path from "node:path";
import { z } from "zod";
import { BUILT_IN_RUNNERS, RunnerName } from "../contracts/deploy-request.ts";

/** Program and arguments. */
const Argv = z.array(z.string().min(1).max(32_768)).min(1).max(1_000);
const VariableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,254}$/, "expected an environment variable's name");

const AgentProgram = z
  .strictObject({
    /** A program that speaks the Agent Client Protocol on its stdin and stdout. */
    acp: Argv.optional(),
    /** The whole command of a server of coder/agentapi, with the agent that it drives. */
    agentapi: Argv.optional(),
    /** The only version that is taken: of the agent by its own account, or of agentapi. */
    version: z.string().optional(),
    /** Variables of the host agent's own environment that it gets, such as its provider's key: no output keeps them. */
    secrets: z.array(VariableName).max(100).default([]),
    /** What else it gets. */
    env: z.record(VariableName, z.string().max(32_768)).default({}),
    /** ACP: the way in which it is to be authenticated, and the mode in which it works, by its own names. */
    auth: z.string().min(1).optional(),
    mode: z.string().min(1).optional(),
    /** agentapi: its work counts as finished once its screen has stayed as it is for so long, ms. */
    quietMs: z.int().min(1_000).max(600_000).optional(),
  })
  .check(({ value, issues }) => {
    const message = problemOf(value);
    if (message !== null) issues.push({ code: "custom", message, input: value });
  });
export type AgentProgram = z.infer<typeof AgentProgram>;

function problemOf({
  acp,
  agentapi,
  auth,
  mode,
  quietMs,
}: z.core.output<typeof AgentProgram>): string | null {
  if ((acp === undefined) === (agentapi === undefined))
    return "expected either acp or agentapi: the command that starts the agent";
  if (acp === undefined && (auth !== undefined || mode !== undefined)) return "auth and mode are for acp";
  if (agentapi === undefined && quietMs !== undefined) return "quietMs is for agentapi";
  return null;
}

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
export const pathsOf = ({ acp = [], agentapi = [] }: AgentProgram): string[] =>
  [...acp, ...agentapi].filter((argument) => path.isAbsolute(argument));
