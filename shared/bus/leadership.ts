// Who leads among several of one service: a key that lives only while it is renewed. It is for the quality of
// decisions only; two that both believe they lead do no harm, since the log's guard lets one of them speak.
import { JetStreamApiError } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import type { Bus } from "./connect.ts";
import { isNoRoom } from "./no-room.ts";
import { lastMessage } from "./read.ts";
import { bucketStream, bucketSubject, LEASES } from "./streams.ts";

export interface Leadership extends AsyncDisposable {
  leads(): boolean;
}

/** Stands for the role until disposed. `onChange` is told each time it is gained or lost. */
export async function standForLeader(
  bus: Bus,
  role: string,
  candidate: string,
  onChange: (leads: boolean) => void,
): Promise<Leadership> {
  const bucket = await new Kvm(bus.js).open(LEASES.bucket);
  let revision = 0;
  let renewedAt = Number.NEGATIVE_INFINITY;
  let wasLeading = false;
  const leads = () => performance.now() - renewedAt < LEASES.ttlMs * 0.75;
  const round = async () => {
    const sentAt = performance.now();
    try {
      revision = await (revision > 0
        ? bucket.update(role, candidate, revision)
        : bucket.create(role, candidate));
      renewedAt = sentAt;
    } catch (error) {
      // The bus may only be away, or full: then what it had lapses by itself.
      if (error instanceof JetStreamApiError && !isNoRoom(error)) {
        revision = 0;
        renewedAt = Number.NEGATIVE_INFINITY;
      }
    }
    if (leads() !== wasLeading) {
      wasLeading = !wasLeading;
      onChange(wasLeading);
    }
  };
  await round();
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    void round().finally(() => {
      busy = false;
    });
  }, LEASES.ttlMs / 4);
  return {
    leads,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      if (leads()) await bucket.delete(role, { previousSeq: revision }).catch(() => {});
      renewedAt = Number.NEGATIVE_INFINITY;
    },
  };
}

/** Whether anybody has led within the time that a key lives. */
export async function hasLeader(bus: Bus, role: string): Promise<boolean> {
  const last = await lastMessage(bus, bucketStream(LEASES), bucketSubject(LEASES, role));
  // A leader that went away by itself has left an empty message.
  return last !== null && last.payload.length > 0;
}
