// Whether a task's patch may be pushed at all, and whether what it changes may. Pure.
import type { PushGrant } from "../../../shared/config/mesh-config.ts";
import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import { type PushOutcome, park } from "../../../shared/contracts/push.ts";

export const notGranted = (repository: string): string =>
  `push: nothing may be pushed to ${repository}: [push."${repository}"] in MESH_CONFIG of the gateways allows it`;

/** Null if it may, as far as its request tells. */
export function requestProblem(
  { repository, branch, baseBranch, fork }: DeployRequest,
  grant: PushGrant | null,
): PushOutcome | null {
  if (fork === true) return park("fork", "the pull request comes from a fork");
  if (grant === null) return park("not-granted", notGranted(repository));
  return branch === baseBranch ? onBase(branch) : null;
}

export const onBase = (branch: string): PushOutcome =>
  park(
    "base-branch",
    `${branch} is the branch that others are merged into: only a pull request's own is pushed to`,
  );

/** One changed path, with what lies there afterwards. */
export interface Change {
  path: string;
  /** As git writes it: `100644`, `120000` for a link, `160000` for a submodule; `000000` if nothing does any more. */
  mode: string;
  /** Name of its content. */
  blob: string;
}

/**
 * What forges and CI services run for every push, with secrets of their own: whoever may change it has those. Names
 * are theirs; what such a file calls in its turn is code like any other.
 */
const RUN_BY_ITSELF = [
  ...[".github/workflows/", ".gitea/workflows/", ".forgejo/workflows/", ".circleci/", ".buildkite/"],
  ...[".semaphore/", ".teamcity/", ".tekton/", ".woodpecker/", ".azure-pipelines/", ".builds/"],
  ...[".gitlab-ci.yml", "bitbucket-pipelines.yml", "jenkinsfile", "codefresh.yml", "wercker.yml"],
  ...[".travis.yml", ".drone.yml", ".cirrus.yml", ".build.yml"],
  ...["azure-pipelines.yml", "azure-pipelines.yaml", ".woodpecker.yml", ".woodpecker.yaml"],
  ...["appveyor.yml", ".appveyor.yml", "buildspec.yml", "cloudbuild.yaml", "cloudbuild.yml"],
];

function isRunByItself(path: string): boolean {
  const name = path.toLowerCase();
  return RUN_BY_ITSELF.some((one) => (one.endsWith("/") ? name.startsWith(one) : name === one));
}

const LINK = "120000";
const SUBMODULE = "160000";

export const isLink = ({ mode }: Change): boolean => mode === LINK;

/** Null if it may. `targets` are those of its links, by path. */
export function changesProblem(
  changes: readonly Change[],
  targets: ReadonlyMap<string, string>,
  { workflows }: Pick<PushGrant, "workflows">,
): PushOutcome | null {
  for (const { path, mode } of changes) {
    if (mode === SUBMODULE) return park("unsafe", `${path} is a submodule`);
    if (!workflows && isRunByItself(path))
      return park("workflows", `the patch changes ${path}, which a forge or CI service runs by itself`);
    const target = targets.get(path);
    if (target !== undefined && leadsOut(path, target))
      return park("unsafe", `${path} is a link that leads out of the tree: ${target.slice(0, 200)}`);
  }
  return null;
}

function leadsOut(path: string, target: string): boolean {
  if (/^(\/|\\|[A-Za-z]:)/.test(target)) return true;
  let depth = path.split("/").length - 1;
  for (const part of target.split(/[/\\]/)) {
    if (part === "..") depth--;
    else if (part !== "." && part !== "") depth++;
    if (depth < 0) return true;
  }
  // Into git's own folder is out as well.
  return target.split(/[/\\]/).some((part) => part.toLowerCase() === ".git");
}
