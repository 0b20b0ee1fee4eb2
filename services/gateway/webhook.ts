// What a GitHub `pull_request` event means for the mesh. Pure: a payload and the configuration in, a decision
// out. It judges neither signatures nor whether work of strangers may run: the log says that.
import { createHash } from "node:crypto";
import { z } from "zod";
import { type MeshConfig, settingsOf } from "../../shared/config/mesh-config.ts";
import type { CancelRequest } from "../../shared/contracts/api.ts";
import {
  type DeployRequest,
  isForAgent,
  StrictDeployRequest,
} from "../../shared/contracts/deploy-request.ts";
import { describeIssues } from "../../shared/contracts/fact.ts";

export type Decision =
  | { kind: "deploy"; request: DeployRequest & { taskId: string } }
  | { kind: "cancel"; request: CancelRequest }
  | { kind: "ignored"; reason: string }
  /** No payload that GitHub would send, or nothing that could be deployed. */
  | { kind: "unreadable"; problem: string };

const Repository = z.object({ id: z.int(), full_name: z.string(), clone_url: z.string() });
const Side = z.object({ ref: z.string(), sha: z.string() });

/** The few fields that are read, of the many that GitHub sends. */
const PullRequestEvent = z.object({
  action: z.string(),
  number: z.int().positive(),
  pull_request: z.object({
    updated_at: z.iso.datetime({ offset: true }),
    title: z.string().default(""),
    body: z.string().nullish(),
    draft: z.boolean().default(false),
    merged: z.boolean().nullish(),
    /** Without a repository once the fork it came from is deleted. */
    head: Side.extend({ repo: Repository.nullable() }),
    base: Side.extend({ repo: Repository }),
  }),
});
type PullRequestEvent = z.infer<typeof PullRequestEvent>;

const DEPLOYS = new Set(["opened", "synchronize", "reopened", "ready_for_review"]);

export function decide(payload: unknown, config: MeshConfig): Decision {
  const parsed = PullRequestEvent.safeParse(payload);
  if (!parsed.success) return { kind: "unreadable", problem: describeIssues(parsed.error) };
  const event = parsed.data;
  if (event.action === "closed") return cancel(event);
  if (!DEPLOYS.has(event.action))
    return { kind: "ignored", reason: `action "${event.action}" changes nothing that would be deployed` };
  return deploy(event, config);
}

function cancel({ number, pull_request: pull }: PullRequestEvent): Decision {
  return {
    kind: "cancel",
    request: {
      repository: pull.base.repo.full_name,
      prNumber: number,
      updatedAt: utc(pull.updated_at),
      reason: `pull request #${number} was ${pull.merged ? "merged" : "closed"}`,
    },
  };
}

function deploy(event: PullRequestEvent, config: MeshConfig): Decision {
  const { number, pull_request: pull } = event;
  const { head, base } = pull;
  const {
    drafts = false,
    push = false,
    type = "pr_deployment",
    ...settings
  } = settingsOf(config, base.repo.full_name);
  if (head.repo === null)
    return { kind: "ignored", reason: `the repository that pull request #${number} came from is deleted` };
  if (pull.draft && !drafts)
    return {
      kind: "ignored",
      reason: `pull request #${number} is a draft; "drafts = true" in the mesh's configuration deploys drafts`,
    };
  const isFork = head.repo.id !== base.repo.id || head.repo.full_name !== base.repo.full_name;
  const isAgents = isForAgent({ type, ...settings });
  if (isFork && isAgents) return { kind: "ignored", reason: NO_AGENT_UNASKED };
  const request = StrictDeployRequest.safeParse({
    ...settings,
    type,
    taskId: taskIdOf(event),
    repository: base.repo.full_name,
    branch: head.ref,
    sha: head.sha,
    // The base has a fork's commits too, under refs/pull/N/head.
    cloneUrl: base.repo.clone_url,
    prNumber: number,
    ...(isAgents ? wordsOf(pull) : {}),
    baseBranch: base.ref,
    pullRequestUpdatedAt: utc(pull.updated_at),
    ...(isFork ? { fork: true } : push ? { push } : {}),
  });
  return request.success
    ? { kind: "deploy", request: { ...request.data, taskId: taskIdOf(event) } }
    : { kind: "unreadable", problem: describeIssues(request.error) };
}

/** Whoever can open a pull request could use what the agent's account pays for. */
const NO_AGENT_UNASKED = "no agent works on a pull request from a fork unless somebody asks for it";

/** For the agent, and cut: the log keeps them. */
const wordsOf = ({ title, body }: PullRequestEvent["pull_request"]) => ({
  ...(title === "" ? {} : { prTitle: title.slice(0, 1_024) }),
  ...(body ? { prBody: body.slice(0, 16_384) } : {}),
});

/** From what happened, so that the same event is the same task, however often and by which hook it comes. */
function taskIdOf({ action, number, pull_request: { base, head, updated_at } }: PullRequestEvent): string {
  const what = JSON.stringify([base.repo.full_name, number, head.sha, action, utc(updated_at)]);
  const hash = createHash("sha256").update(what).digest("hex").slice(0, 16);
  return `gh-${number}-${head.sha.slice(0, 12).toLowerCase()}-${hash}`;
}

const utc = (time: string): string => new Date(time).toISOString();
