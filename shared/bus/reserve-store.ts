// The log's reserve as it lies on the bus: up to a number of equal parts in a stream of their own.
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { reserveSubject } from "../contracts/reserve.ts";
import type { Bus } from "./connect.ts";
import { isNoRoom } from "./no-room.ts";
import { FACT_MAX_BYTES, LOGS, RESERVE } from "./streams.ts";

const PARTS = 128;
/** Of what `LOGS` may take, which is less on a small disk. */
const SHARE = 1 / 16;
/** Requests that were under way when it was given up must leave most of it. */
const LEAST_BYTES = 4 * FACT_MAX_BYTES;

export const reserveBytes = (logsMaxBytes: number): number => Math.max(logsMaxBytes * SHARE, LEAST_BYTES);

export class ReserveStore {
  readonly wholeBytes: number;
  readonly #bus: Bus;
  readonly #manager: JetStreamManager;

  private constructor(bus: Bus, manager: JetStreamManager, wholeBytes: number) {
    this.#bus = bus;
    this.#manager = manager;
    this.wholeBytes = wholeBytes;
  }

  static async open(bus: Bus): Promise<ReserveStore> {
    const manager = await jetstreamManager(bus.connection, { checkAPI: false });
    const { config } = await manager.streams.info(LOGS);
    return new ReserveStore(bus, manager, reserveBytes(config.max_bytes));
  }

  /** Asks for a little room, then stores up to so many of the parts that are missing. */
  async put(parts: number): Promise<"stored" | "no room"> {
    const held = await this.#held();
    const payload = new Uint8Array(this.wholeBytes / PARTS);
    try {
      await this.#bus.js.publish(reserveSubject.build({ part: "probe" }), "");
      for (let part = held; part < Math.min(PARTS, held + parts); part++)
        await this.#bus.js.publish(reserveSubject.build({ part: String(part) }), payload);
      return "stored";
    } catch (error) {
      if (isNoRoom(error)) return "no room";
      throw error;
    }
  }

  async isWhole(): Promise<boolean> {
    return (await this.#held()) >= PARTS;
  }

  async isEmpty(): Promise<boolean> {
    return (await this.#messages()) === 0;
  }

  async clear(): Promise<void> {
    await this.#manager.streams.purge(RESERVE);
  }

  /** What all streams of the mesh hold on disk. */
  async usedBytes(): Promise<number> {
    return (await this.#manager.getAccountInfo()).storage;
  }

  async #held(): Promise<number> {
    // The first that lies there is the one that asks for room.
    return Math.max(0, (await this.#messages()) - 1);
  }

  async #messages(): Promise<number> {
    return (await this.#manager.streams.info(RESERVE)).state.messages;
  }
}
