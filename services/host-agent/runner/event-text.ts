// What an agent's event says to a person who reads its log: whole lines, or nothing. Pure.
import { type AgentEvent, tokensOf } from "../../../shared/contracts/agent-event.ts";

const BRIEF_CHARACTERS = 300;

export function eventText(event: AgentEvent): string {
  const words = wordsOf(event);
  return words === "" ? "" : `${words}\n`;
}

function wordsOf(event: AgentEvent): string {
  switch (event.type) {
    case "started":
      return `the agent works: version ${event.version}, ${event.model}, session ${event.sessionId}`;
    case "text":
      return event.text;
    case "toolStart":
      return `> ${event.tool} ${brief(inputText(event.input))}`;
    case "toolEnd":
      return event.ok ? "" : `  failed: ${brief(event.output)}`;
    case "retry": {
      const why = event.status === null ? "did not answer" : `answered ${event.status}`;
      return `the provider ${why}: trying again (${event.attempt} of ${event.maxAttempts})`;
    }
    case "approval":
      return `? ${event.tool} ${brief(inputText(event.input))} asks for approval, as ${event.id}`;
    case "said":
      return `< ${event.text}`;
    case "denied":
      return `  ${event.tool} denied: ${brief(event.reason)}`;
    case "rateLimit":
      return event.status === "allowed" ? "" : `the provider's limit: ${event.status}${until(event)}`;
    case "usage":
      return `used ${event.turns} turns, ${event.costUsd === null ? `${tokensOf(event)} tokens` : `$${event.costUsd.toFixed(4)}`}`;
    case "raw":
      return "";
  }
}

const until = ({ resetsAtMs }: { resetsAtMs: number | null }): string =>
  resetsAtMs === null ? "" : `, until ${new Date(resetsAtMs).toISOString()}`;

/** What matters most of a tool's input. */
const TELLING = ["command", "file_path", "path", "pattern", "url", "query", "description"];

function inputText(json: string): string {
  try {
    const input = JSON.parse(json) as Record<string, unknown>;
    const telling = TELLING.map((name) => input[name]).find((value) => typeof value === "string");
    return typeof telling === "string" ? telling : json;
  } catch {
    // It was cut.
    return json;
  }
}

function brief(text: string): string {
  const [first = "", ...others] = text.trim().split("\n");
  const isCut = others.length > 0 || first.length > BRIEF_CHARACTERS;
  return isCut ? `${first.slice(0, BRIEF_CHARACTERS)}…` : first;
}
