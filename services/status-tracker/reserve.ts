// Holds room on the bus for facts: parts of a reserve that nobody reads, given up when the bus has no room for them any
// more. From then until there is room for the whole reserve again no request is taken, so what runs can end.
import type { Logger } from "pino";
import type { Bus } from "../../shared/bus/connect.ts";
import { lastIntake } from "../../shared/bus/intake.ts";
import { ReserveStore } from "../../shared/bus/reserve-store.ts";
import { makeRounds } from "./rounds.ts";

const EVERY_MS = 1_000;
/** Parts stored in each round of a reserve that grows at leisure. */
const PARTS_A_ROUND = 8;
/** There is room again when so much more than the reserve is free, so that it is not given and taken in turns. */
const SPARE = 1.25;
/** A bus may have been given more room without anything having left it, ms. */
const TRY_ANYWAY_MS = 60_000;

/** In words, what it means that the reserve was given to the log. */
export const GIVEN = "the bus is full: the log takes no request, and its reserve is for facts";

export interface Reserve extends AsyncDisposable {
  /** The reserve was given to the log: facts go in, requests have to wait. */
  isGiven(): boolean;
}

export async function keepReserve(bus: Bus, log: Logger, leads: () => boolean): Promise<Reserve> {
  const store = await ReserveStore.open(bus);
  let given = false;
  /** What the leader before has done is known. */
  let leading = false;
  /** What the bus held in all when it refused a part, bytes; 0 to who has not seen that. */
  let fullAtBytes = 0;
  let triedAtMs = performance.now();

  async function grow(parts: number): Promise<void> {
    if ((await store.put(parts)) === "no room") {
      fullAtBytes = await store.usedBytes();
      triedAtMs = performance.now();
      if (!given) log.warn(GIVEN);
      given = true;
    } else if (given && (await store.isWhole())) {
      given = false;
      log.info("the bus has room for the log's reserve again: requests are taken");
    }
  }

  async function round(): Promise<void> {
    if (!leading) given = (await lastIntake(bus))?.full ?? false;
    leading = true;
    if (!given) return grow(PARTS_A_ROUND);
    // Cleared a round after that was said, so that nobody who has not heard of it puts a request there.
    if (!(await store.isEmpty())) return store.clear();
    const hasRoom = (await store.usedBytes()) + SPARE * store.wholeBytes <= fullAtBytes;
    if (hasRoom || performance.now() - triedAtMs > TRY_ANYWAY_MS) await grow(Number.POSITIVE_INFINITY);
  }

  const rounds = makeRounds({
    bus,
    everyMs: EVERY_MS,
    round,
    isDue() {
      leading &&= leads();
      return leads();
    },
  });
  return {
    isGiven: () => given,
    [Symbol.asyncDispose]: () => rounds[Symbol.asyncDispose](),
  };
}
