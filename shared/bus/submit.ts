// Puts a request on the log: two requests with one id are one task, a second body under a known id is a
// conflict, and an accepted request is stored before anybody is told so.
import { isDeepStrictEqual } from "node:util";
import { uuidv7 } from "uuidv7";
import type { DeployRequest, Priority } from "../contracts/deploy-request.ts";
import type { Fact, Malformed } from "../contracts/fact.ts";
import { type Answer, answer, refuse } from "../contracts/failure.ts";
import { appendFact } from "./append.ts";
import { isUnanswered } from "./ask.ts";
import type { Bus } from "./connect.ts";
import { takePlace } from "./intake.ts";
import { factsOfTask } from "./read.ts";

export interface Submitted {
  taskId: string;
  /** Sequence on the log of its request. */
  sequence: number;
  /** False when the same request was there already. */
  created: boolean;
}

const DEADLINE_MS = 10_000;

export async function submitTask(bus: Bus, request: DeployRequest): Promise<Answer<Submitted>> {
  const { taskId = uuidv7(), ...rest } = request;
  const priority: Priority = rest.priority ?? "normal";
  const body = { ...rest, priority, after: 0 };
  const place = await takePlace(bus, priority);
  if (!place.ok) {
    // What is on the log already is taken, however often it is sent.
    const facts = request.taskId === undefined ? answer([]) : await factsNow(bus, taskId);
    return facts.ok && facts.value.length > 0 ? known(taskId, body, facts.value) : place;
  }
  const appended = await appendFact(
    bus,
    { taskId, kind: "requested", speaker: priority, body },
    { deadlineMs: DEADLINE_MS, truth: () => factsNow(bus, taskId) },
  );
  place.value.settle(appended.outcome === "appended" ? appended.sequence : null);
  switch (appended.outcome) {
    case "appended":
      return answer({ taskId, sequence: appended.sequence, created: true });
    case "impossible":
      return refuse("too_large", `the request: ${appended.message}`);
    case "unknown":
      return refuse(
        "unavailable",
        `the log has not taken the request (${appended.why}); send it again with taskId ${taskId}`,
      );
    case "refused":
      return known(taskId, body, appended.now);
  }
}

/** Read from the log itself, so that a tracker's absence refuses nobody. */
async function factsNow(bus: Bus, taskId: string): Promise<Answer<(Fact | Malformed)[]>> {
  try {
    return answer(await factsOfTask(bus, taskId));
  } catch (error) {
    if (!isUnanswered(error)) throw error;
    return refuse("unavailable", `the log of task ${taskId} does not answer; ask again`);
  }
}

function known(taskId: string, body: object, facts: (Fact | Malformed)[]): Answer<Submitted> {
  const first = facts.find((fact) => fact.kind === "requested" && fact.body !== null);
  if (first?.body && isDeepStrictEqual(withoutAfter(first.body), withoutAfter(body)))
    return answer({ taskId, sequence: first.sequence, created: false });
  return refuse("conflict", `task ${taskId} is known with another request: choose another taskId`);
}

/** As it is on the log: what JSON does not carry is not compared. */
const withoutAfter = (body: object): unknown => ({
  ...JSON.parse(JSON.stringify(body)),
  after: 0,
  taskId: null,
});
