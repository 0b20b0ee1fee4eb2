// Single reads from the streams, asked at their leaders: one task's facts, the last message of a subject.
import { DeliverPolicy, JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import type { DeployRequest } from "../contracts/deploy-request.ts";
import { decodeFact, type Fact, type Malformed, taskSubjects } from "../contracts/fact.ts";
import type { Bus } from "./connect.ts";
import { TASKS } from "./streams.ts";

const NO_MESSAGE = 10037;

export interface StoredMessage {
  subject: string;
  payload: Uint8Array;
  sequence: number;
  timeMs: number;
}

/** The last message of a subject (wildcards allowed) as the stream's leader has it now, or null. */
export async function lastMessage(bus: Bus, stream: string, subject: string): Promise<StoredMessage | null> {
  const manager = await jetstreamManager(bus.connection, { checkAPI: false });
  try {
    const message = await manager.streams.getMessage(stream, { last_by_subj: subject });
    if (message === null) return null;
    return {
      subject: message.subject,
      payload: message.data,
      sequence: message.seq,
      timeMs: message.time.getTime(),
    };
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === NO_MESSAGE) return null;
    throw error;
  }
}

/** Every message stored now under the subjects, in order; at most `ahead` of them lie in memory unread. */
export async function* storedMessages(
  bus: Bus,
  stream: string,
  subjects: string,
  ahead = 200,
): AsyncGenerator<StoredMessage> {
  const last = await lastMessage(bus, stream, subjects);
  if (last === null) return;
  const consumer = await bus.js.consumers.get(stream, {
    filter_subjects: subjects,
    deliver_policy: DeliverPolicy.All,
    inactive_threshold: 30_000,
  });
  const messages = await consumer.consume({ max_messages: ahead });
  try {
    for await (const message of messages) {
      yield {
        subject: message.subject,
        payload: message.data,
        sequence: message.seq,
        timeMs: Number(message.timestampNanos / 1_000_000n),
      };
      if (message.seq >= last.sequence) return;
    }
  } finally {
    await messages.close();
    // Otherwise the broker keeps one for every such read of the last half minute.
    void consumer.delete().catch(() => {});
  }
}

/** Every fact about one task that is on the log now, in order. */
export async function factsOfTask(bus: Bus, taskId: string): Promise<(Fact | Malformed)[]> {
  const facts: (Fact | Malformed)[] = [];
  for await (const message of storedMessages(bus, TASKS, taskSubjects(taskId))) {
    const fact = decodeFact(message.subject, message.payload, message.sequence, message.timeMs);
    if (fact !== null) facts.push(fact);
  }
  return facts;
}

/** The request that stands on the log at this sequence; null if there is none, or the log does not answer. */
export async function requestAt(bus: Bus, sequence: number): Promise<DeployRequest | null> {
  const message = await jetstreamManager(bus.connection, { checkAPI: false })
    .then((manager) => manager.direct.getMessage(TASKS, { seq: sequence }))
    .catch(() => null);
  if (message === null) return null;
  const fact = decodeFact(message.subject, message.data, message.seq, message.time.getTime());
  return fact?.kind === "requested" ? fact.body : null;
}
