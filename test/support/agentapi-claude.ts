// How tests run the real Claude Code in a terminal of agentapi. It must hold no expectations.
import { lookOn } from "../../services/host-agent/runner/program.ts";

/** Answers what Claude Code asks a new user before it takes a prompt. */
const PREPARED = `cat > ~/.claude.json <<END
{ "hasCompletedOnboarding": true, "projects": { "$PWD": { "hasTrustDialogAccepted": true } },
  "customApiKeyResponses": { "approved": ["$(printf %s "$ANTHROPIC_API_KEY" | tail -c 20)"] } }
END
exec "$@"`;
const FLAGS = ["--permission-mode", "acceptEdits", "--setting-sources", "user"];

export const preparedClaude = (program: string): string[] => ["sh", "-c", PREPARED, "sh", program, ...FLAGS];

export const CLAUDE_SETTINGS = {
  CLAUDE_CODE_MAX_RETRIES: "0",
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
  DISABLE_AUTOUPDATER: "1",
};

/** Of a runner by agentapi. */
export const AROUND_CLAUDE = { look: lookOn(process.env.PATH ?? ""), version: undefined, quietMs: 4_000 };
