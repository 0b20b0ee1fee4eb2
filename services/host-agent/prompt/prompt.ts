// What an agent is told: the template of the task's type, the repository's own or the mesh's, filled in.

import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { TaskType } from "../../../shared/contracts/task-type.ts";
import { ownText } from "../../../shared/process/own-program.ts";
import { commandInWords, type Gate } from "../attempt/gates.ts";
import type { RepositoryConfiguration } from "../attempt/repository-configuration.ts";
import type { BaseBranch } from "../workspace/tree.ts";
import { fencedPullRequest } from "./pull-request-text.ts";

/** From the project's root. */
export const templateOf = (type: TaskType): string => `services/host-agent/prompt/templates/${type}.md`;

/** `mark` is not to be guessed: it stands around what the pull request's author wrote. */
export function promptFor(
  request: DeployRequest,
  { prompts, templates }: Pick<RepositoryConfiguration, "prompts"> & Pick<BaseBranch, "templates">,
  gates: Gate[],
  mark: string,
): { ok: true; prompt: string } | { ok: false; failure: Failure } {
  const unusable = (message: string): { ok: false; failure: Failure } => ({
    ok: false,
    failure: { category: "setup", permanent: true, message },
  });
  const own = prompts[request.type] ?? ownText(templateOf(request.type));
  const template = typeof own === "string" ? own : templates[own.file];
  if (typeof own === "object" && !template?.trim())
    return unusable(
      `prompts.${request.type} names ${own.file}, which is no file of the base branch, or an empty one`,
    );
  const filled = fill(template ?? "", valuesOf(request, gates, mark));
  if (filled.ok) return { ok: true, prompt: filled.text };
  return unusable(
    `the prompt for ${request.type} has {{${filled.unknown}}}; known are ${filled.known.join(", ")}`,
  );
}

function valuesOf(request: DeployRequest, gates: Gate[], mark: string) {
  const { repository, sha, prompt = "", prNumber, branch, prTitle, prBody } = request;
  const commands = gates.map(({ gate, command }) => `- ${gate}: ${commandInWords(command)}`);
  return {
    instructions: prompt,
    pullRequest: fencedPullRequest({ number: prNumber, branch, title: prTitle, body: prBody }, mark),
    gates: commands.length === 0 ? "- none are known" : commands.join("\n"),
    repository,
    sha,
  };
}

type Filled = { ok: true; text: string } | { ok: false; unknown: string; known: string[] };

/** Each `{{name}}` by its value, in which nothing is looked for; one that is empty leaves no empty lines. */
function fill(template: string, values: Record<string, string>): Filled {
  const known = Object.keys(values);
  const names = [...template.matchAll(PLACE)].map(([, name = ""]) => name.trim());
  const unknown = names.find((name) => !Object.hasOwn(values, name));
  if (unknown !== undefined) return { ok: false, unknown, known };
  const text = template.replaceAll(PLACE, (_, name: string, space: string) => {
    const value = values[name.trim()] ?? "";
    return value === "" ? "" : `${value}${space}`;
  });
  return { ok: true, text: text.trim() };
}
const PLACE = /\{\{([^{}\n]*)\}\}(\n*)/g;
