// What a client of ACP and an agent tell each other before and after a turn, as far as the mesh needs it.
import { z } from "zod";

const VERSION = 1;

/** The host must not act on its own files for an agent: no client capability is offered. */
export const INITIALIZE = {
  protocolVersion: VERSION,
  clientCapabilities: { fs: { readTextFile: false, writeTextFile: false }, terminal: false },
  clientInfo: { name: "agent-mesh", version: "1" },
};

export const Hello = z.object({
  protocolVersion: z.literal(VERSION),
  agentInfo: z.object({ version: z.string() }).nullish().catch(null),
});

/** Category of the option by which an agent's model is chosen. */
export const MODEL = "model";

export const Session = z.object({
  sessionId: z.string(),
  configOptions: z
    .array(
      z.object({
        id: z.string(),
        category: z.string().nullish().catch(null),
        currentValue: z.string().catch(""),
      }),
    )
    .nullish()
    .catch(null)
    .transform((options) => options ?? []),
});
export type Session = z.infer<typeof Session>;

const count = z.int().nonnegative().catch(0);

/** Not every agent tells what a turn has used. */
export const TurnEnd = z.object({
  stopReason: z.string(),
  usage: z
    .object({ inputTokens: count, outputTokens: count, cachedReadTokens: count, cachedWriteTokens: count })
    .nullable()
    .default(null)
    .catch(null),
});
export type TurnEnd = z.infer<typeof TurnEnd>;
