// An agent's provider on loopback, as one thing whichever agent asks it: a script that says what its model answers. It
// must hold no expectations.
import type { MessagesApi } from "./messages-api.ts";
import type { ResponsesApi } from "./responses-api.ts";

/** The model says something (`slowly`, for 5 s), has a shell command run, refuses with an HTTP status, or never answers. */
export type Line = { say: string; slowly?: true } | { run: string } | { refuse: number } | "hang";

export interface Provider {
  readonly url: string;
  /** Keys of the requests since the script began. */
  keys(): (string | undefined)[];
  /** What the last of them told the model. */
  told(): string;
  play(...script: Line[]): void;
}

export const anthropic = (api: MessagesApi): Provider => ({
  url: api.url,
  keys: () => api.requests.map(({ key }) => key),
  told: () => api.requests.at(-1)?.messages ?? "",
  play: (...script) =>
    api.play(
      ...script.map((line) => {
        if (line === "hang") return line;
        if ("say" in line)
          return line.slowly ? [{ text: line.say.padEnd(2_000, "…"), everyMs: 50 }] : [{ text: line.say }];
        if ("run" in line) return [{ tool: "Bash", input: { command: line.run, description: "Try" } }];
        return { status: line.refuse, error: "error", message: `stub says ${line.refuse}` };
      }),
    ),
});

export const openai = (api: ResponsesApi): Provider => api;
