// Whether the mesh takes one more request of a priority: asked before it is put on the log, because what is on the log
// is never refused. Several who submit at once may exceed the limit by what they have under way.
import type { NatsConnection } from "nats";
import type { Priority } from "../contracts/deploy-request.ts";
import { type Answer, answer, refuse } from "../contracts/failure.ts";
import { Intake, intakeSubject } from "../contracts/intake.ts";
import type { Bus } from "./connect.ts";
import { lastMessage } from "./read.ts";
import { INTAKE } from "./streams.ts";

/** What was read is believed for so long, ms. */
const FRESH_MS = 200;

/** A place among the unfinished tasks, until it is known whether the request is on the log. */
export interface Place {
  /** With its sequence on the log, or null when it is not there. */
  settle(sequence: number | null): void;
}

interface Known {
  intake: Intake | null;
  readAtMs: number;
  reading: Promise<void> | null;
  /** Requests of this connection that the count may not hold yet, with their sequence once that is known. */
  own: Set<{ priority: Priority; sequence: number | null }>;
}

const knownBy = new WeakMap<NatsConnection, Known>();

/** `too_many`: beyond the limit; `unavailable`: what room the log has left is for facts. While nobody has counted, everything is taken. */
export async function takePlace(bus: Bus, priority: Priority): Promise<Answer<Place>> {
  const known = knownBy.get(bus.connection) ?? {
    intake: null,
    readAtMs: Number.NEGATIVE_INFINITY,
    reading: null,
    own: new Set(),
  };
  knownBy.set(bus.connection, known);
  if (performance.now() - known.readAtMs > FRESH_MS) await (known.reading ??= read(bus, known));
  const { intake, own } = known;
  if (intake?.full)
    return refuse(
      "unavailable",
      "the disk of the bus is full: what room is left is for tasks that were taken already; send it again later",
    );
  if (intake !== null) {
    let count = intake.unfinished[priority];
    for (const request of own) if (request.priority === priority) count++;
    if (count >= intake.limit)
      return refuse(
        "too_many",
        `${intake.unfinished[priority]} tasks of priority ${priority} have no end yet, and ${intake.limit} may be: send it again later`,
      );
  }
  const request = { priority, sequence: null as number | null };
  own.add(request);
  return answer({
    settle(sequence) {
      request.sequence = sequence;
      if (sequence === null || sequence <= (known.intake?.sequence ?? Number.POSITIVE_INFINITY))
        own.delete(request);
    },
  });
}

/** What the status tracker said last; null if it has said nothing since the bus was started. */
export async function lastIntake(bus: Bus): Promise<Intake | null> {
  const message = await lastMessage(bus, INTAKE, intakeSubject.build({}));
  return message === null ? null : Intake.parse(JSON.parse(Buffer.from(message.payload).toString()));
}

async function read(bus: Bus, known: Known): Promise<void> {
  try {
    known.intake = await lastIntake(bus);
  } catch {
    // Whether a request can be taken at all is for the log to say.
    known.intake = null;
  }
  known.readAtMs = performance.now();
  known.reading = null;
  const counted = known.intake?.sequence ?? Number.POSITIVE_INFINITY;
  for (const request of known.own)
    if (request.sequence !== null && request.sequence <= counted) known.own.delete(request);
}
