// GitHub's `pull_request` payloads from octokit's examples, as the tests bend them. It must change no original.
import examples from "@octokit/webhooks-examples" with { type: "json" };
import { z } from "zod";

const Repository = z.looseObject({ id: z.int(), full_name: z.string() });

const Payload = z.looseObject({
  action: z.string(),
  number: z.int(),
  pull_request: z.looseObject({
    updated_at: z.string(),
    head: z.looseObject({ ref: z.string(), sha: z.string().optional(), repo: Repository.nullable() }),
  }),
});
export type Payload = z.infer<typeof Payload>;

const Definitions = z.array(z.object({ name: z.string(), examples: z.array(z.unknown()) }));

/** All there are. */
export const payloads: Payload[] = z
  .array(Payload)
  .parse(Definitions.parse(examples).find(({ name }) => name === "pull_request")?.examples);

interface Overrides {
  pull?: object;
  head?: object;
  /** Null: deleted. */
  headRepo?: object | null;
}

/** A copy of the first one with this action, or of the one for "opened" under another name. */
export function payloadOf(action: string, { pull = {}, head = {}, headRepo = {} }: Overrides = {}): Payload {
  const found = payloads.find((candidate) => candidate.action === action) ?? payloads[0];
  const payload = Payload.parse(structuredClone(found));
  Object.assign(payload.pull_request, pull);
  Object.assign(payload.pull_request.head, head);
  if (headRepo === null) payload.pull_request.head.repo = null;
  else Object.assign(payload.pull_request.head.repo ?? {}, headRepo);
  return { ...payload, action };
}
