// Makes every stream and bucket what this version of the mesh says it is: idempotent, safe to run from
// several services at once, and never takes a newer version's configuration back.
import { setTimeout as delay } from "node:timers/promises";
import { JetStreamApiError, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { type Bus, BusError } from "./connect.ts";
import { type MeshStream, STREAMS, STREAMS_VERSION } from "./streams.ts";

const VERSION_KEY = "mesh-streams-version";
const NAME_IN_USE = 10058;
const NO_ROOM = 10047;
const STREAM_NOT_FOUND = 10059;

/** A store that has not even this for a stream is none, bytes. */
const LEAST_BYTES = 1_048_576;
const PAUSE_MS = 250;

/** An older service that began in the same moment may have written last: whoever is newer looks again, ms. */
const EVERY_MS = 30_000;

/**
 * Now, every now and then, and after every reconnect: what lies in memory has not outlived a server that was started
 * again.
 */
export async function keepProvisioned(bus: Bus, everyMs = EVERY_MS): Promise<Disposable> {
  await provision(bus);
  let repairing = false;
  let wanted = false;
  const repair = async () => {
    wanted = true;
    if (repairing) return;
    repairing = true;
    while (wanted && !bus.connection.isClosed()) {
      wanted = false;
      await provision(bus).catch(async () => {
        // The server is not ready yet, or gone again.
        wanted = true;
        await delay(PAUSE_MS);
      });
    }
    repairing = false;
  };
  const reconnect = bus.onReconnect(() => void repair());
  const sweep = setInterval(() => bus.connectedSince() !== null && void repair(), everyMs);
  return {
    [Symbol.dispose]() {
      clearInterval(sweep);
      reconnect[Symbol.dispose]();
    },
  };
}

export async function provision(
  bus: Bus,
  streams: MeshStream[] = STREAMS,
  version = STREAMS_VERSION,
): Promise<void> {
  const manager = await managerOf(bus);
  for (const stream of streams) await provisionStream(manager, stream, version);
}

/** In words: the streams that the bus has less room for than they were meant to have. */
export async function cramped(bus: Bus): Promise<string[]> {
  const manager = await managerOf(bus);
  const found = STREAMS.map(async ({ name, max_bytes = 0 }) => {
    const { config } = await manager.streams.info(name);
    return config.max_bytes > 0 && config.max_bytes < max_bytes
      ? [`${name} keeps ${config.max_bytes} bytes instead of ${max_bytes}: the bus has no room for more`]
      : [];
  });
  return (await Promise.all(found)).flat();
}

/** By stream, in words: which drop their oldest before it is as old as they were meant to keep it. */
export async function cutShort(bus: Bus): Promise<Map<string, string>> {
  const manager = await managerOf(bus);
  const found = new Map<string, string>();
  for (const { name, max_age = 0, max_bytes = 0 } of STREAMS) {
    if (max_age === 0 || max_bytes === 0) continue;
    const { config, state, ts } = await manager.streams.info(name);
    const { first_seq, first_ts, bytes } = state;
    const ageMs = Date.parse(ts ?? new Date().toISOString()) - Date.parse(first_ts);
    // Of one that was purged by hand much is free.
    if (first_seq <= 1 || bytes < config.max_bytes / 2 || ageMs * 1_000_000 >= max_age * 0.99) continue;
    found.set(
      name,
      `${name} is full, at ${config.max_bytes} bytes: it keeps only what came since ${first_ts}`,
    );
  }
  return found;
}

async function managerOf(bus: Bus): Promise<JetStreamManager> {
  try {
    return await jetstreamManager(bus.connection);
  } catch (error) {
    // The client does not export the class.
    if (!(error instanceof Error && error.name === "JetStreamNotEnabled")) throw error;
    throw new BusError(
      `NATS at ${bus.connection.getServer()} runs without JetStream: start it with \`-js\`, or with nats.conf`,
    );
  }
}

async function provisionStream(
  manager: JetStreamManager,
  stream: MeshStream,
  version: number,
): Promise<void> {
  const wanted = { ...stream, metadata: { [VERSION_KEY]: String(version) } };
  const present = await manager.streams.info(stream.name).catch((error: unknown) => {
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return null;
    throw error;
  });
  if (present === null) {
    try {
      await addWhereThereIsRoom(manager, wanted);
    } catch (error) {
      // Another service was quicker, with another configuration.
      if (!(error instanceof JetStreamApiError && error.code === NAME_IN_USE)) throw error;
      await provisionStream(manager, stream, version);
    }
    return;
  }
  const theirs = Number(present.config.metadata?.[VERSION_KEY] ?? 0);
  if (theirs >= version) return;
  // What a stream was created with for good.
  const { name, storage, persist_mode, ...changeable } = wanted;
  await manager.streams.update(stream.name, changeable);
}

/**
 * A store may be smaller than what streams may grow to: then each such stream may take a quarter of what it could
 * have had, so that the log of the tasks, which has no bound of its own, keeps the room that is left.
 */
async function addWhereThereIsRoom(manager: JetStreamManager, wanted: MeshStream): Promise<void> {
  for (let maxBytes = wanted.max_bytes ?? 0; ; maxBytes = Math.floor(maxBytes / 2)) {
    try {
      await manager.streams.add(maxBytes > 0 ? { ...wanted, max_bytes: maxBytes } : wanted);
    } catch (error) {
      const isTooMuch =
        error instanceof JetStreamApiError && error.code === NO_ROOM && maxBytes > LEAST_BYTES;
      if (!isTooMuch) throw error;
      continue;
    }
    if (maxBytes < (wanted.max_bytes ?? 0))
      await manager.streams.update(wanted.name, { max_bytes: Math.floor(maxBytes / 4) });
    return;
  }
}
