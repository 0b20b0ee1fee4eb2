// What every runner of an agent keeps of what it is told: a result that is filled in as the run goes on, and the end of
// what its process complains of.
import { EVENT_TEXT_MAX } from "../../../shared/contracts/agent-event.ts";
import type { AgentResult } from "../../../shared/contracts/attempt-result.ts";
import type { RunnerName } from "../../../shared/contracts/deploy-request.ts";
import { roughCut } from "../redaction.ts";

const COMPLAINT_CHARACTERS = 1_000;
/** Of what it said last. */
export const SUMMARY_CHARACTERS = 4_000;

/** A text of an event, not yet rid of secrets. */
export const cutText = (text: string): string => roughCut(text, EVENT_TEXT_MAX);

/** What it said last, not yet rid of secrets. */
export const summaryOf = (said: string): string => roughCut(said, SUMMARY_CHARACTERS);

/** Before it has told anything. */
export const nothingTold = (runner: RunnerName): AgentResult => ({
  runner,
  version: "",
  model: "",
  sessionId: "",
  usage: null,
  denied: 0,
  summary: "",
});

/** The end of its stderr, once this has come too. */
export const complaintWith = (complaint: string, bytes: Buffer): string =>
  (complaint + bytes.toString()).slice(-COMPLAINT_CHARACTERS);
