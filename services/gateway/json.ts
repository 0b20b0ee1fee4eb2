// How the routes under /v1 take JSON in and hand it out: a body or a parameter that does not fit its schema is
// refused with what was expected.
import type { Context } from "hono";
import type { z } from "zod";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import { explainIssues } from "../../shared/contracts/unknown-field.ts";
import type { Gateway, GatewayEnv } from "./http.ts";
import { refuseWith } from "./problem.ts";
import { readJson } from "./request-body.ts";

export type Handler = (gateway: Gateway, context: Context<GatewayEnv>) => Promise<Response>;

export function reply(context: Context, result: Answer<object>, status: 200 | 202 = 200): Response {
  return result.ok ? context.json(result.value, status) : refuseWith(context, result.error);
}

export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): Answer<z.output<Schema>> {
  const parsed = schema.safeParse(value);
  return parsed.success ? answer(parsed.data) : refuse("bad_request", explainIssues(parsed.error, schema));
}

export async function parseBody<Schema extends z.ZodType>(
  context: Context<GatewayEnv>,
  schema: Schema,
): Promise<Answer<z.output<Schema>>> {
  const json = await readJson(context.env.incoming);
  return json.ok ? parse(schema, json.value) : json;
}
