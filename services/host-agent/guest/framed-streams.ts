// Streams of bytes over the frames between host and guest, the same at both ends. What is sent ahead of the reader is
// bounded, each way and for each stream: a slow one delays itself alone. All of them together never fill the line, which
// has more to carry than them. One that is held passes nothing on either way.
import { Duplex } from "node:stream";
import { encodeControl, encodeData, type Frame, type StreamMessage } from "./protocol.ts";

/** So much may be under way to a reader that has not taken it, bytes. */
export const WINDOW_BYTES = 131_072;
/** What was taken is told in steps of this, bytes. */
const STEP_BYTES = WINDOW_BYTES / 4;
/** Pieces that wait lie together in blocks of this: each by itself, a single byte would need hundreds. */
const BLOCK_BYTES = 4_096;

/** False: the line takes no more at the moment; `drained` is called when it does. */
export type Send = (bytes: Buffer) => boolean;

export class FramedStreams {
  readonly #line: Line;
  /** In the order of their turns. */
  readonly #open = new Map<number, FramedStream>();
  readonly #held = new Set<string>();

  constructor(send: Send) {
    this.#line = { send, isFull: false };
  }

  open(number: number, attempt: string): Duplex {
    const stream = new FramedStream(number, attempt, this.#line, () => this.#open.delete(number));
    stream.hold(this.#held.has(attempt));
    // Whoever uses it hears of that as its end; nobody has to.
    stream.on("error", () => {});
    this.#open.set(number, stream);
    return stream;
  }

  /** How many the attempt has. */
  countOf(attempt: string): number {
    return this.#of(attempt).length;
  }

  /** False if it is not about a stream. What comes for one that is over is passed over. */
  hear(frame: Frame<{ type: string }>): boolean {
    if (frame.kind === "stream") {
      this.#open.get(frame.number)?.arrive(frame.bytes);
      return true;
    }
    if (frame.kind !== "control" || !isAboutStream(frame.message)) return false;
    const { message } = frame;
    const stream = this.#open.get(message.stream);
    if (message.type === "streamTaken") stream?.mayContinue(message.bytes);
    else if (message.type === "streamEnd") stream?.arriveEnd();
    else stream?.breakOff();
    return true;
  }

  /** The line takes more: whoever's turn it is goes on. */
  drained(): void {
    this.#line.isFull = false;
    for (const [number, stream] of [...this.#open]) {
      if (this.#line.isFull) return;
      if (!this.#open.delete(number)) continue;
      this.#open.set(number, stream);
      stream.sendOn();
    }
  }

  hold(attempt: string, held: boolean): void {
    if (this.#held.has(attempt) === held) return;
    if (held) this.#held.add(attempt);
    else this.#held.delete(attempt);
    for (const stream of this.#of(attempt)) stream.hold(held);
  }

  /** All of an attempt's, at once; of everybody's if none is given. */
  destroy(attempt?: string): void {
    for (const stream of attempt === undefined ? [...this.#open.values()] : this.#of(attempt))
      stream.destroy();
    if (attempt === undefined) this.#held.clear();
    else this.#held.delete(attempt);
  }

  #of(attempt: string): FramedStream[] {
    return [...this.#open.values()].filter((stream) => stream.attempt === attempt);
  }
}

const TYPES: Record<StreamMessage["type"], true> = { streamTaken: true, streamEnd: true, streamClose: true };
const isAboutStream = (message: { type: string }): message is StreamMessage =>
  Object.hasOwn(TYPES, message.type);

/** What all streams of an end share. */
interface Line {
  send: Send;
  isFull: boolean;
}

class FramedStream extends Duplex {
  readonly attempt: string;
  readonly #number: number;
  readonly #line: Line;
  readonly #closed: () => void;
  /** What the other end has room for, bytes. */
  #room = WINDOW_BYTES;
  /** To be sent once there is room. */
  #waiting: { bytes: Buffer; done: () => void } | null = null;
  /** Come, and not yet asked for. */
  readonly #arrived: Buffer[] = [];
  #arrivedBytes = 0;
  /** Where the last that has come lies, if there is room after it. */
  #block = Buffer.alloc(0);
  /** Taken, and not yet told. */
  #takenBytes = 0;
  #isWanted = false;
  #isHeld = false;
  #hasTheirEnd = false;
  #isBrokenOff = false;

  constructor(number: number, attempt: string, line: Line, closed: () => void) {
    // What nobody has asked for waits here alone, where it is counted.
    super({ allowHalfOpen: true, readableHighWaterMark: 1 });
    this.#number = number;
    this.attempt = attempt;
    this.#line = line;
    this.#closed = closed;
  }

  hold(held: boolean): void {
    this.#isHeld = held;
    if (held) return;
    this.sendOn();
    this.#passOn();
  }

  arrive(bytes: Buffer): void {
    // Only an end that does not keep to the protocol sends more than it has been given room for.
    if (this.#arrivedBytes + bytes.length > WINDOW_BYTES) return void this.destroy();
    this.#keep(bytes);
    this.#arrivedBytes += bytes.length;
    this.#passOn();
  }

  /** As a copy: a frame's bytes are part of a larger buffer, which would be kept for as long as they are. */
  #keep(bytes: Buffer): void {
    const last = this.#arrived.at(-1);
    const filled = last?.length ?? 0;
    if (last?.buffer === this.#block.buffer && filled + bytes.length <= this.#block.length) {
      bytes.copy(this.#block, filled);
      this.#arrived[this.#arrived.length - 1] = this.#block.subarray(0, filled + bytes.length);
    } else if (last === undefined || bytes.length >= BLOCK_BYTES) this.#arrived.push(Buffer.from(bytes));
    else {
      this.#block = Buffer.alloc(BLOCK_BYTES);
      bytes.copy(this.#block);
      this.#arrived.push(this.#block.subarray(0, bytes.length));
    }
  }

  arriveEnd(): void {
    this.#hasTheirEnd = true;
    this.#passOn();
  }

  mayContinue(bytes: number): void {
    this.#room += bytes;
    this.sendOn();
  }

  breakOff(): void {
    this.#isBrokenOff = true;
    this.destroy(new Error("the other end has broken it off"));
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#waiting = { bytes, done };
    this.sendOn();
  }

  override _final(done: () => void): void {
    this.#say({ type: "streamEnd", stream: this.#number });
    done();
  }

  override _read(): void {
    this.#isWanted = true;
    this.#passOn();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#closed();
    const isOver = this.writableFinished && this.readableEnded;
    if (!isOver && !this.#isBrokenOff) this.#say({ type: "streamClose", stream: this.#number });
    done(error);
  }

  /** As much as there is room for, at the other end and on the line. */
  sendOn(): void {
    while (this.#waiting !== null && !this.#isHeld && this.#room > 0 && !this.#line.isFull) {
      const { bytes, done } = this.#waiting;
      const part = bytes.subarray(0, this.#room);
      this.#room -= part.length;
      this.#line.isFull = !this.#line.send(encodeData("stream", this.#number, part));
      const rest = bytes.subarray(part.length);
      this.#waiting = rest.length === 0 ? null : { bytes: rest, done };
      if (this.#waiting === null) done();
    }
  }

  #passOn(): void {
    while (this.#isWanted && !this.#isHeld) {
      const bytes = this.#arrived.shift();
      if (bytes === undefined) break;
      this.#arrivedBytes -= bytes.length;
      this.#takenBytes += bytes.length;
      this.#isWanted = this.push(bytes);
    }
    if (this.#takenBytes >= STEP_BYTES) {
      this.#say({ type: "streamTaken", stream: this.#number, bytes: this.#takenBytes });
      this.#takenBytes = 0;
    }
    if (!this.#hasTheirEnd || this.#arrived.length > 0 || this.#isHeld) return;
    this.#hasTheirEnd = false;
    this.push(null);
  }

  #say(message: StreamMessage): void {
    this.#line.send(encodeControl(message));
  }
}
