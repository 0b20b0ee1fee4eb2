// What a host knows of an agent's provider: where it is, the key, what may be asked of it, and how its answers tell what
// was used. An agent has none of that: it asks at a door, with a token of its attempt.
import { validateHeaderValue } from "node:http";
import type { Door } from "../guest/protocol.ts";

export interface Provider {
  /** Its address, or that of a gateway to it, with a path before its own if it has one. */
  baseUrl: string;
  /** The host's own key, as it is sent. */
  headers: Record<string, string>;
  allows(method: string, path: string): boolean;
  /** What is asked so makes the model answer; its answer tells what that has used. */
  isCounted(method: string, path: string): boolean;
  /** Reads an answer of this type. */
  readUsage(contentType: string): UsageReader;
  /** The body of a refusal, as the provider itself words one. */
  refusal(status: number, message: string): string;
  /** By what the agent finds its door, and what it says there. */
  environment(token: string): Record<string, string>;
  /** Of the environment, where the agent looks for the door's path. */
  pathVariable: NonNullable<Door["pathVariable"]>;
}

export interface Tokens {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
}

/** Takes an answer in pieces, however they are cut, and keeps little of it. */
export interface UsageReader {
  push(bytes: Buffer): void;
  /** As far as it has been told by now. */
  used(): Tokens;
}

/** Why nobody can be asked there, or with that key; null if it can be tried. Never tells the key. */
export function providerProblem({ baseUrl, headers }: Pick<Provider, "baseUrl" | "headers">): string | null {
  const { protocol, username, search, hash } = URL.canParse(baseUrl) ? new URL(baseUrl) : NOWHERE;
  if ((protocol !== "https:" && protocol !== "http:") || username + search + hash !== "")
    return "the provider's address is to be https:// or http:// with a host and a path, and nothing else";
  try {
    for (const [name, value] of Object.entries(headers)) validateHeaderValue(name, value);
    return null;
  } catch {
    return "the provider's key has a character that cannot be sent, such as the end of a line";
  }
}

const NOWHERE = { protocol: "", username: "", search: "", hash: "" };
