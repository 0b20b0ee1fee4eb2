// An agent's provider on loopback, as one thing whichever agent asks it: a script that says what its model answers. It
// must hold no expectations.
import type { MessagesApi } from "./messages-api.ts";
import type { ResponsesApi } from "./responses-api.ts";

/** The model says something, has a shell command run, refuses with an HTTP status, or never answers. */
export type Line = { say: string } | { run: string } | { refuse: number } | "hang";

export interface Provider {
  readonly url: string;
  /** Keys of the requests since the script began. */
  keys(): (string | undefined)[];
  play(...script: Line[]): void;
}

export const anthropic = (api: MessagesApi): Provider => ({
  url: api.url,
  keys: () => api.requests.map(({ key }) => key),
  play: (...script) =>
    api.play(
      ...script.map((line) => {
        if (line === "hang") return line;
        if ("say" in line) return [{ text: line.say }];
        if ("run" in line) return [{ tool: "Bash", input: { command: line.run, description: "Try" } }];
        return { status: line.refuse, error: "error", message: `stub says ${line.refuse}` };
      }),
    ),
});

export const openai = (api: ResponsesApi): Provider => api;
