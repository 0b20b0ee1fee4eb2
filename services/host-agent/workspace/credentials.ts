// This machine's own git credentials, for a git elsewhere: asked of the helpers that are set up here, never of a person,
// and kept nowhere.
import { git } from "../../../shared/repository/git.ts";

const ACTIONS: Record<string, string> = { get: "fill", store: "approve", erase: "reject" };
const ANSWER_MS = 30_000;

/** In the words of git's credential protocol; empty when there are none. */
export async function askCredentials(action: string, text: string): Promise<string> {
  const verb = ACTIONS[action];
  if (verb === undefined) return "";
  const env = { GCM_INTERACTIVE: "never", GIT_ASKPASS: "", SSH_ASKPASS: "" };
  const answered = await git(["credential", verb], {
    env,
    input: `${text.trimEnd()}\n\n`,
    timeoutMs: ANSWER_MS,
  });
  return answered.ok && verb === "fill" ? `${answered.stdout}\n` : "";
}
