// What a coding agent does while it works, in words that every agent shares: each runner maps its agent's own events
// onto these, and passes on what it does not know. They travel on LOGS and in the event stream.
import { z } from "zod";

/** Longer texts are cut; the attempt's `transcript` artifact has them whole. */
export const EVENT_TEXT_MAX = 16_384;

const TEXT = z.string().max(EVENT_TEXT_MAX);

/** What a run has used until now. Tokens that the provider had in its cache are counted apart. */
export const AgentUsage = z.object({
  turns: z.int().nonnegative(),
  /** Null where the agent tells none: that is not for nothing. */
  costUsd: z.number().nonnegative().nullable(),
  inputTokens: z.int().nonnegative(),
  outputTokens: z.int().nonnegative(),
  cacheReadTokens: z.int().nonnegative(),
  cacheWriteTokens: z.int().nonnegative(),
});
export type AgentUsage = z.infer<typeof AgentUsage>;

/** Of all kinds, those from the provider's cache too. */
export const tokensOf = (usage: AgentUsage): number =>
  usage.inputTokens + usage.outputTokens + usage.cacheReadTokens + usage.cacheWriteTokens;

export const AgentEvent = z.discriminatedUnion("type", [
  /** Again for each message that it takes up. */
  z.object({ type: z.literal("started"), sessionId: z.string(), model: z.string(), version: z.string() }),
  z.object({ type: z.literal("text"), text: TEXT }),
  /** `input` is JSON text; `id` is that of the tool's end. */
  z.object({ type: z.literal("toolStart"), id: z.string(), tool: z.string(), input: TEXT }),
  z.object({ type: z.literal("toolEnd"), id: z.string(), ok: z.boolean(), output: TEXT }),
  /** The provider did not answer as hoped and is asked again; `status` is HTTP's, null if there was none. */
  z.object({
    type: z.literal("retry"),
    attempt: z.int(),
    maxAttempts: z.int(),
    delayMs: z.number(),
    status: z.int().nullable(),
  }),
  /** A tool that wants somebody's leave: who does not get it in time is denied. */
  z.object({
    type: z.literal("approval"),
    id: z.string(),
    tool: z.string(),
    input: TEXT,
    timeoutMs: z.number(),
  }),
  /** What somebody has told it. */
  z.object({ type: z.literal("said"), text: TEXT }),
  z.object({ type: z.literal("denied"), tool: z.string(), reason: TEXT }),
  /** What the provider says of its limit; `resetsAtMs` is a Unix time. */
  z.object({ type: z.literal("rateLimit"), status: z.string(), resetsAtMs: z.number().nullable() }),
  AgentUsage.extend({ type: z.literal("usage") }),
  /** What the runner has no word for, as JSON text. */
  z.object({ type: z.literal("raw"), text: TEXT }),
]);
export type AgentEvent = z.infer<typeof AgentEvent>;
