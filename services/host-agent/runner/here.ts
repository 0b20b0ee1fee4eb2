// The runners of this host: found where its instances are, once the first of them is there.
import type { Logger } from "pino";
import type { AgentProgram, AgentPrograms } from "../../../shared/config/agent-programs.ts";
import type { Environment } from "../../../shared/config/environment.ts";
import type { Hello } from "../guest/protocol.ts";
import { acpRunner } from "./acp/driver.ts";
import { agentapiRunner } from "./agentapi/driver.ts";
import { claudeCodeRunner } from "./claude-code/driver.ts";
import { codexRunner } from "./codex/driver.ts";
import { commandRunner } from "./command.ts";
import type { ProgramsThere } from "./program.ts";
import type { Runner } from "./runner.ts";

/** Those that can be used, with the versions of their programs; and why others cannot, which the log tells too. */
export async function findRunners(
  environment: Environment,
  configured: AgentPrograms,
  isolation: Hello["isolation"] | undefined,
  programs: ProgramsThere,
  log: Logger,
): Promise<{
  runners: Runner[];
  versions: Record<string, string>;
  unusable: { name: string; reason: string }[];
}> {
  const { ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, ANTHROPIC_BASE_URL } = environment;
  const { OPENAI_API_KEY, OPENAI_BASE_URL } = environment;
  const { look } = programs;
  const { passed, withheld } = environmentOfAgents(process.env);
  if (withheld.length > 0)
    log.warn(
      { withheld },
      "agents do not get these: they name files by paths of Windows, where no agent runs",
    );
  const agents = [
    claudeCodeRunner(
      { file: environment.MESH_CLAUDE_BIN, version: environment.MESH_CLAUDE_VERSION, look },
      { ...passed, ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, ANTHROPIC_BASE_URL },
    ),
    codexRunner(
      { file: environment.MESH_CODEX_BIN, version: environment.MESH_CODEX_VERSION, look },
      { ...passed, OPENAI_API_KEY, OPENAI_BASE_URL },
      isolation,
    ),
    ...Object.entries(configured).map(([name, program]) => configuredRunner(name, program, passed, programs)),
  ];
  const runners: Runner[] = [commandRunner];
  const versions: Record<string, string> = {};
  const unusable: { name: string; reason: string }[] = [];
  const probes = await Promise.all(agents.map(async (agent) => ({ agent, found: await agent.probe() })));
  for (const { agent, found } of probes) {
    log.info(found, `runner ${agent.name}`);
    if (found.ok) {
      runners.push(agent);
      versions[agent.name] = found.version;
    } else unusable.push({ name: agent.name, reason: found.reason });
  }
  return { runners, versions, unusable };
}

/** Authorities that this machine trusts besides. */
const AUTHORITIES = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];

/**
 * What agents may be given of this host's environment. On Windows they run in a Linux of their own, whose image has to
 * trust what the network there wants: a path of Windows is no file to them.
 */
export function environmentOfAgents(host: NodeJS.ProcessEnv): {
  passed: NodeJS.ProcessEnv;
  withheld: string[];
} {
  const withheld = AUTHORITIES.filter((name) => /^([A-Za-z]:|\\\\)/.test(host[name] ?? ""));
  const passed = Object.entries(host).filter(([name]) => !withheld.includes(name));
  return { passed: Object.fromEntries(passed), withheld };
}

/** What an agent needs of the host's environment to reach its provider at all. */
const PROXY = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", ...AUTHORITIES];

function configuredRunner(
  name: string,
  program: AgentProgram,
  host: NodeJS.ProcessEnv,
  { look, greet }: ProgramsThere,
): Runner {
  const { acp, agentapi = [], secrets, version, auth, mode, quietMs } = program;
  const passed = [...PROXY, ...secrets].flatMap((variable) =>
    host[variable] ? [[variable, host[variable]]] : [],
  );
  const env = { ...(Object.fromEntries(passed) as Record<string, string>), ...program.env };
  const runner =
    acp === undefined
      ? agentapiRunner({ name, argv: agentapi, env, version, look, quietMs })
      : acpRunner({ name, argv: acp, env, version, auth, mode, greet });
  const missing = secrets.find((variable) => !host[variable]);
  if (missing === undefined) return runner;
  return {
    ...runner,
    probe: async () => ({ ok: false, reason: `no ${missing} in the environment of this host agent` }),
  };
}
