// Doors of attempts: sockets inside an instance, each connection of which is a stream to the host. They are the only way
// out of an instance with a network of its own; no port of the machine opens for them. What is frozen passes nothing.
import { closeSync, mkdirSync, openSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import path from "node:path";
import { pipeline } from "node:stream";
import { FramedStreams, type Send } from "./framed-streams.ts";
import { type Door, encodeControl, type Frame, type FromGuest } from "./protocol.ts";

/** Connections that an attempt has at once; a further one is closed. */
export const STREAMS_MAX = 128;
/** Longer paths than this are no sockets' (`sun_path`), bytes. */
const SOCKET_PATH_MAX = 100;

interface Place {
  folder: string;
  servers: Map<string, Server>;
}

export class Doors {
  readonly #folder: string;
  readonly #send: Send;
  readonly #streams: FramedStreams;
  readonly #places = new Map<string, Place>();
  #lastPlace = 0;
  #lastStream = 0;

  /** `send`: frames to the host. */
  constructor(stateDir: string, send: Send) {
    this.#folder = path.join(stateDir, "doors");
    this.#send = send;
    this.#streams = new FramedStreams(send);
    // A former life's.
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** The folder with the attempt's sockets, these among them; throws where there can be none. */
  open(attempt: string, doors: readonly Door[]): string {
    const place = this.#places.get(attempt) ?? this.#makePlace();
    this.#places.set(attempt, place);
    for (const { name } of doors)
      if (!place.servers.has(name)) {
        const server = createServer({ allowHalfOpen: true }, (socket) => this.#enter(attempt, name, socket));
        server.on("error", () => {});
        listenIn(server, place.folder, name);
        place.servers.set(name, server);
      }
    return place.folder;
  }

  /** One that listens in a network of the attempt's own; it is whoever gives it that closes it. */
  adopt(attempt: string, name: string, server: Server): void {
    // What comes from another process has forgotten it.
    Object.assign(server, { allowHalfOpen: true });
    server.on("error", () => {});
    server.on("connection", (socket: Socket) => this.#enter(attempt, name, socket));
  }

  /** False if it is not about a stream. */
  hear(frame: Frame<{ type: string }>): boolean {
    return this.#streams.hear(frame);
  }

  /** The host takes more. */
  drained(): void {
    this.#streams.drained();
  }

  hold(attempt: string, held: boolean): void {
    this.#streams.hold(attempt, held);
  }

  /** The attempt has ended. */
  close(attempt: string): void {
    const place = this.#places.get(attempt);
    this.#places.delete(attempt);
    this.#streams.destroy(attempt);
    for (const server of place?.servers.values() ?? []) server.close();
    if (place !== undefined) rmSync(place.folder, { recursive: true, force: true });
  }

  closeAll(): void {
    for (const attempt of [...this.#places.keys()]) this.close(attempt);
  }

  #makePlace(): Place {
    const folder = path.join(this.#folder, String(++this.#lastPlace));
    // Whoever the attempt is must be able to enter it, where he is shown it.
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    return { folder, servers: new Map() };
  }

  #enter(attempt: string, door: string, socket: Socket): void {
    if (!this.#places.has(attempt) || this.#streams.countOf(attempt) >= STREAMS_MAX) {
      socket.destroy();
      return;
    }
    const number = ++this.#lastStream;
    const opened: FromGuest = { type: "streamOpened", stream: number, attempt, door };
    this.#send(encodeControl(opened));
    const stream = this.#streams.open(number, attempt);
    const over = () => {};
    pipeline(socket, stream, over);
    pipeline(stream, socket, over);
  }
}

/** Whoever reaches the folder may use it. */
function listenIn(server: Server, folder: string, name: string): void {
  const file = path.join(folder, name);
  const open = { readableAll: true, writableAll: true };
  if (Buffer.byteLength(file) <= SOCKET_PATH_MAX) return void server.listen({ path: file, ...open });
  if (process.platform !== "linux") throw new Error(`${file} is too long for a socket's path`);
  const within = openSync(folder, "r");
  try {
    server.listen({ path: `/proc/self/fd/${within}/${name}`, ...open });
  } finally {
    closeSync(within);
  }
}
