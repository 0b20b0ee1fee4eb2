// Where a reader of a stream is, and whether the stream is still the one that it has read so far. Pure.

export interface Place {
  /** When the broker made the stream: tells it from a later one of the same name. */
  created: string;
  /** Sequence of the last message handed over; what was stored before a reader of what is new began counts too. */
  seen: number;
  /** The broker's wall clock less this process's monotonic one, ms. */
  clockMs: number;
}

/** What is read of the broker's description of a stream. Servers tell their time in `ts`. */
export interface StreamNow {
  created: string;
  state: { last_seq: number };
  ts?: string;
}

/** Thrown when what has been read is no longer what the stream holds: a reader's knowledge is of another log. */
export class StreamReplaced extends Error {
  override readonly name = "StreamReplaced";
}

/** The place in the stream as it is now. Who reads from `"last"` begins again in a stream that is another one. */
export function placeIn(
  place: Place | null,
  stream: StreamNow,
  from: number | "new" | "last",
  nowMs: number,
): Place {
  const clockMs = (stream.ts === undefined ? Date.now() : Date.parse(stream.ts)) - nowMs;
  const { created } = stream;
  const last = stream.state.last_seq;
  if (place === null) return { created, clockMs, seen: from === "new" ? last : 0 };
  if (created === place.created && last >= place.seen) return { created, clockMs, seen: place.seen };
  if (from === "last") return { created, clockMs, seen: 0 };
  throw new StreamReplaced(
    created === place.created
      ? `the stream ends at ${last} and was followed to ${place.seen}: it has lost its end`
      : `the stream that was followed since ${place.created} is gone, and another of ${created} has its name`,
  );
}
