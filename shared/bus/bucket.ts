// Buckets of the mesh: small tables of JSON values that operators write and services watch. It must never hold what
// decides whether an attempt may act: that is the log's.
import { Kvm } from "@nats-io/kv";
import type { Bus } from "./connect.ts";
import { follow } from "./follow.ts";
import type { Following } from "./follower.ts";
import { storedMessages } from "./read.ts";
import { type Bucket, bucketStream, bucketSubject } from "./streams.ts";

export interface Entry {
  key: string;
  /** Undefined when it was deleted; the text itself where somebody has put what is no JSON. */
  value: unknown;
  /** The broker's time, ms since the epoch. */
  timeMs: number;
}

/** Hands over what is there, then every change. */
export const followBucket = (bus: Bus, bucket: Bucket, onEntry: (entry: Entry) => void): Promise<Following> =>
  follow(bus, {
    stream: bucketStream(bucket),
    from: "last",
    onMessage: ({ subject, payload, timeMs }) => onEntry(entryOf(bucket, subject, payload, timeMs)),
  });

/** What is there now, asked at the leader. */
export async function entriesOf(bus: Bus, bucket: Bucket): Promise<Map<string, unknown>> {
  const entries = new Map<string, unknown>();
  for await (const { subject, payload, timeMs } of storedMessages(
    bus,
    bucketStream(bucket),
    bucketSubject(bucket, ">"),
  )) {
    const { key, value } = entryOf(bucket, subject, payload, timeMs);
    if (value === undefined) entries.delete(key);
    else entries.set(key, value);
  }
  return entries;
}

/** Sets the entry, or deletes it for `undefined`. Stored when it resolves. */
export async function putEntry(bus: Bus, bucket: Bucket, key: string, value: unknown): Promise<void> {
  const kv = await new Kvm(bus.js).open(bucket.bucket);
  if (value === undefined) await kv.delete(key);
  else await kv.put(key, JSON.stringify(value));
}

function entryOf(bucket: Bucket, subject: string, payload: Uint8Array, timeMs: number): Entry {
  const key = subject.slice(bucketSubject(bucket, "").length);
  const text = Buffer.from(payload).toString();
  // A deletion leaves an empty message.
  if (text === "") return { key, value: undefined, timeMs };
  try {
    return { key, value: JSON.parse(text), timeMs };
  } catch {
    return { key, value: text, timeMs };
  }
}
