// What an attempt is to do: its request, with what the base branch says of how that is done. It decides before anything
// of the task's own runs, and nothing that the pull request brings has a say in it.
import { randomBytes } from "node:crypto";
import { type DeployRequest, findingsProblem, isForAgent } from "../../../shared/contracts/deploy-request.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import { TASK_TYPES } from "../../../shared/contracts/task-type.ts";
import { type NetworkPlan, networkOf, type OwnersNetwork } from "../network/plan.ts";
import { promptFor } from "../prompt/prompt.ts";
import { type BaseBranch, CONFIGURATION_FILE } from "../workspace/tree.ts";
import { TRUSTED_PATHS } from "../workspace/trusted-files.ts";
import { type Gate, gatesOf } from "./gates.ts";
import { readConfiguration, withLimits } from "./repository-configuration.ts";

export interface Plan {
  /** With its limits, and the whole prompt in place of what was asked for. */
  request: DeployRequest;
  gates: Gate[];
  /** Names of the host's secrets that work and gates get: what the request asks for, and the base branch. */
  secrets: string[];
  /** What their instances may reach. */
  network: NetworkPlan;
  /** What the log is told of it, a sentence each. */
  notes: string[];
}

export function planOf(
  request: DeployRequest,
  { isThere, configuration, templates }: BaseBranch,
  owner: OwnersNetwork,
): { ok: true; plan: Plan } | { ok: false; failure: Failure } {
  const read = readConfiguration(
    configuration,
    `${CONFIGURATION_FILE} of ${request.baseBranch ?? "the base branch"}`,
  );
  if (!read.ok) return read;
  const gates = gatesOf(read.configuration, request);
  if (gates.length === 0 && TASK_TYPES[request.type].needsGates)
    return { ok: false, failure: { category: "setup", permanent: true, message: NOTHING_JUDGES } };
  const named = [...new Set([...(request.secrets ?? []), ...read.configuration.secrets])];
  const secrets = request.fork === true ? [] : named;
  const untold = findingsProblem(request);
  if (untold !== null) return { ok: false, failure: { category: "setup", permanent: true, message: untold } };
  const network = networkOf(request, read.configuration.network, owner);
  const { request: limited, tooHigh } = withLimits(request, read.configuration);
  const ofGates = gates.filter(({ gate }) => gate !== "check").map(({ gate }) => gate);
  const notes = [
    configuration === null
      ? `no ${CONFIGURATION_FILE} on the base branch: ${gates.length === 0 ? "no gate" : "the request's checks alone"} will judge the work`
      : `${CONFIGURATION_FILE} of the base branch: gates ${ofGates.join(", ") || "none"}`,
    ...(named.length === 0
      ? []
      : [`secrets ${named.join(", ")}: ${request.fork === true ? NONE_FOR_STRANGERS : "given"}`]),
    ...(network.note === null ? [] : [network.note]),
    ...tooHigh.map((name) => `limits.${name} there is above what is allowed here, which holds`),
  ];
  const common = { gates, secrets, network, notes };
  if (!isForAgent(request)) return { ok: true, plan: { request: limited, ...common } };
  const { prompts } = read.configuration;
  const told = promptFor(request, { prompts, templates }, gates, randomBytes(8).toString("hex"));
  if (!told.ok) return told;
  notes.push(isThere ? TRUSTED : UNTRUSTED);
  return { ok: true, plan: { request: { ...limited, prompt: told.prompt }, ...common } };
}

const NOTHING_JUDGES = `nothing judges it: a validation needs checks, or gates in ${CONFIGURATION_FILE} of the base branch`;
const NONE_FOR_STRANGERS = "not given, since a pull request from a fork gets none";
const PATHS = TRUSTED_PATHS.join(", ");
const TRUSTED = `${PATHS} are the base branch's, and no part of the patch`;
const UNTRUSTED = `${PATHS} are left out, since there is no base branch, and no part of the patch`;
