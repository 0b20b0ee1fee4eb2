// The HTTP side of GitHub's webhooks: checks the signature over the raw body, then does what `decide` said.
// Nothing of a body is believed, or parsed, before its signature is right.
import { verify } from "@octokit/webhooks-methods";
import type { Context } from "hono";
import { askApi } from "../../shared/bus/ask.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { refuse } from "../../shared/contracts/failure.ts";
import type { Gateway, GatewayEnv } from "./http.ts";
import { refuseWith } from "./problem.ts";
import { isJson, readBody } from "./request-body.ts";
import { type Decision, decide } from "./webhook.ts";

/**
 * GitHub sends up to 25 MB, but a `pull_request` event is some 30 KB and a description of at most 64 Ki
 * characters. What a stranger can make the gateway hold before the signature is checked is kept near that.
 */
export const WEBHOOK_MAX_BYTES = 2 * 1024 * 1024;
const SIGNATURE = /^sha256=[0-9a-f]{64}$/;
const CANCEL_MS = 8_000;

export async function receiveWebhook(gateway: Gateway, context: Context<GatewayEnv>): Promise<Response> {
  const { webhookSecret, config, log } = gateway;
  if (webhookSecret === undefined)
    return refuseWith(context, {
      code: "forbidden",
      message: "webhooks are refused: MESH_GITHUB_WEBHOOK_SECRET of the gateway is not set",
    });
  const signature = context.req.header("x-hub-signature-256") ?? "";
  const unsigned = () =>
    refuseWith(context, {
      code: "unauthorized",
      message: "X-Hub-Signature-256 does not fit the body and the secret",
    });
  if (!SIGNATURE.test(signature)) return unsigned();
  const body = await readBody(context.env.incoming, WEBHOOK_MAX_BYTES);
  if (!body.ok) return refuseWith(context, body.error);
  const text = body.value.toString("utf8");
  if (text === "" || !(await verify(webhookSecret, text, signature))) return unsigned();

  const event = context.req.header("x-github-event") ?? "";
  if (event === "ping") return context.json({ decision: "pong" });
  if (event !== "pull_request")
    return context.json(
      { decision: "ignored", reason: `events of kind "${event}" mean nothing to the mesh` },
      202,
    );
  if (!isJson(context.req.header("content-type") ?? ""))
    return refuseWith(context, {
      code: "unsupported",
      message: "set the webhook's content type to application/json",
    });
  let payload: unknown;
  try {
    payload = JSON.parse(text);
  } catch {
    return refuseWith(context, { code: "bad_request", message: "the body is no JSON text" });
  }
  const decision = decide(payload, config);
  log.info({ delivery: context.req.header("x-github-delivery"), decision: decision.kind }, "webhook");
  return perform(gateway, context, decision);
}

async function perform(
  { bus }: Gateway,
  context: Context<GatewayEnv>,
  decision: Decision,
): Promise<Response> {
  if (decision.kind === "ignored") return context.json({ decision: "ignored", reason: decision.reason }, 202);
  if (decision.kind === "unreadable")
    return refuseWith(context, refuse("bad_request", decision.problem).error);
  if (decision.kind === "cancel") {
    const cancelled = await askApi(bus, "cancel", decision.request, CANCEL_MS);
    if (!cancelled.ok) return refuseWith(context, cancelled.error);
    return context.json({ decision: "cancel", ...cancelled.value }, 202);
  }
  const { taskId } = decision.request;
  const submitted = await submitTask(bus, decision.request);
  // The same event again, after the configuration has changed: still the same task.
  if (!submitted.ok && submitted.error.code !== "conflict") return refuseWith(context, submitted.error);
  context.header("location", `/v1/tasks/${taskId}`);
  return context.json({ decision: "deploy", taskId, created: submitted.ok && submitted.value.created }, 202);
}
