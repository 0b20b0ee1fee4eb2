// Checks of the agents' programs on this machine, and whether they have what they need to log in to their providers.
import { pino } from "pino";
import type { Environment } from "../../../shared/config/environment.ts";
import { readMeshConfig } from "../../../shared/config/mesh-config.ts";
import type { Isolation } from "../../host-agent/guest/inside.ts";
import { type Finding, ok, warn } from "./finding.ts";

export type AgentReading = { name: string } & ({ version: string } | { reason: string });

export const judgeAgents = (agents: AgentReading[]): Finding[] =>
  agents.map((agent) =>
    "version" in agent
      ? ok(agent.name, agent.version)
      : warn(agent.name, agent.reason, "if this host is to run it: docs/agents.md tells what it needs"),
  );

/** `inside`: programs of agents in the distro, which know nothing of how their keys get there. */
export function judgeAgentsInside(inside: string[], environment: Environment): Finding[] {
  const { ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, OPENAI_API_KEY } = environment;
  const keys: Record<string, string | undefined> = {
    claude: ANTHROPIC_API_KEY ?? ANTHROPIC_AUTH_TOKEN,
    codex: OPENAI_API_KEY,
  };
  const fix = "if this host is to run it: docs/agents.md tells what it needs";
  if (inside.length === 0) return [warn("agents", "no program of an agent is in the distro", fix)];
  return inside.map((name) =>
    keys[name] === undefined
      ? warn(name, "in the distro; there is no key for its provider in these settings", fix)
      : ok(name, "in the distro, with a key for its provider"),
  );
}

export async function readAgents(environment: Environment, isolation: Isolation): Promise<AgentReading[]> {
  const { findRunners } = await import("../../host-agent/runner/here.ts");
  const { programsHere } = await import("../../host-agent/runner/program.ts");
  const { runners } = await readMeshConfig(environment.MESH_CONFIG);
  const log = pino({ level: "silent" });
  const programs = programsHere(process.env.PATH ?? "");
  const { versions, unusable } = await findRunners(environment, runners, isolation, programs, log);
  return [...Object.entries(versions).map(([name, version]) => ({ name, version })), ...unusable];
}
