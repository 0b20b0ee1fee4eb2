// The form in which an agent is asked to tell what it has found, and how that is read: what it says is cut to what is
// kept, and what does not fit the form is no finding. Pure.
import { z } from "zod";
import { Finding } from "../../../shared/contracts/task-type.ts";
import { type Redactor, redactedCut, roughCut } from "../redaction.ts";

/** More is no reading for anybody. */
const FINDINGS_KEPT = 500;
const FILE_MAX = Finding.shape.file.maxLength ?? 0;
const MESSAGE_MAX = Finding.shape.message.maxLength ?? 0;

const Told = z.object({
  file: z.string().describe("path from the top of the tree"),
  line: z.int().min(1).nullable().describe("null if it concerns no single line"),
  severity: Finding.shape.severity,
  message: z.string(),
});
const Answer = z.object({ findings: z.array(Told) });

const schema = (io: "input" | "output"): string =>
  JSON.stringify(z.toJSONSchema(Answer, { target: "draft-7", io }));

/** As JSON Schema, in one line. What an agent tells besides is passed over, and no reason to ask it again. */
export const FINDINGS_SCHEMA = schema("input");

/** The same with nothing besides, which OpenAI's models have to be given. */
export const CLOSED_FINDINGS_SCHEMA = schema("output");

/** Undefined for what is no list of findings. Their texts are not yet rid of secrets. */
export function readFindings(value: unknown): Finding[] | undefined {
  const answer = Answer.safeParse(value);
  if (!answer.success) return undefined;
  return answer.data.findings.slice(0, FINDINGS_KEPT).map(({ file, message, ...others }) => ({
    ...others,
    file: roughCut(file, FILE_MAX),
    message: roughCut(message, MESSAGE_MAX),
  }));
}

export const cutFinding = (finding: Finding, redactor: Redactor): Finding => ({
  ...finding,
  file: redactedCut(redactor, finding.file, FILE_MAX),
  message: redactedCut(redactor, finding.message, MESSAGE_MAX),
});
