// Reads server-sent events and resumes them after a cut connection, by the id of the last one seen: none is missed
// and none repeated. It must never take a cut for the end of the stream.

export interface ServerSentEvent {
  id: string;
  data: string;
}

/** What a server sends to say only where its stream is: an id, and `data` null. */
interface Place {
  id: string;
  data: null;
}

/** Parses a body of `text/event-stream`; comments are passed over. */
export async function* parseEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent | Place> {
  const decoder = new TextDecoder();
  let rest = "";
  let id = "";
  let moved = false;
  let data: string[] = [];
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (data.length > 0) yield { id, data: data.join("\n") };
        else if (moved) yield { id, data: null };
        data = [];
        moved = false;
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon === -1 ? line : line.slice(0, colon);
      const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "id") {
        id = value;
        moved = true;
      } else if (field === "data") data.push(value);
    }
  }
}

export interface ResumeOptions {
  /**
   * Opens the stream after an event; throws what shall end it all. `null`: there is nothing more to come, ever.
   * `"later"`: it cannot be had now.
   */
  open: (lastEventId: number, signal: AbortSignal) => Promise<AsyncIterable<Uint8Array> | null | "later">;
  after: number;
  signal?: AbortSignal | undefined;
  onConnected?: (connected: boolean) => void;
}

const BACKOFF_MS = [250, 500, 1_000, 2_000, 5_000];
/** The gateway sends a comment more often than this. */
const SILENCE_MS = 60_000;

/** Every event after `after`, until the server says that there is nothing more, or the signal's reason is thrown. */
export async function* resumedEvents(options: ResumeOptions): AsyncGenerator<ServerSentEvent> {
  const { signal, onConnected = () => {} } = options;
  let lastEventId = options.after;
  let failures = 0;
  for (;;) {
    signal?.throwIfAborted();
    let events = 0;
    {
      using connection = oneConnection(signal);
      try {
        const body = await options.open(lastEventId, connection.signal);
        if (body === null) return;
        onConnected(body !== "later");
        if (body !== "later")
          for await (const event of parseEvents(connection.watched(body))) {
            const sequence = Number(event.id);
            if (!(sequence > lastEventId)) continue;
            lastEventId = sequence;
            if (event.data === null) continue;
            events++;
            yield event;
          }
      } catch (error) {
        signal?.throwIfAborted();
        if (!isCut(error)) throw error;
        onConnected(false);
      }
    }
    failures = events > 0 ? 0 : failures + 1;
    if (failures > 0) await pause(BACKOFF_MS[Math.min(failures, BACKOFF_MS.length) - 1] ?? 0, signal);
  }
}

/** What fetch throws when the connection breaks, and what we throw at a silent one. */
const isCut = (error: unknown): boolean =>
  error instanceof TypeError || (error instanceof DOMException && error.name === "AbortError");

/** One connection, given up when it has been silent for too long. */
function oneConnection(outer: AbortSignal | undefined) {
  const controller = new AbortController();
  const silence = setTimeout(() => controller.abort(), SILENCE_MS);
  return {
    signal: outer ? AbortSignal.any([outer, controller.signal]) : controller.signal,
    async *watched(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const chunk of body) {
        silence.refresh();
        yield chunk;
      }
    },
    [Symbol.dispose]() {
      clearTimeout(silence);
      controller.abort();
    },
  };
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    signal?.addEventListener("abort", over);
  });
}
