// The wishes about hosts as a service has them: read from their bucket and watched. A wish that nobody can read
// changes nothing.
import type { Logger } from "pino";
import { HostWish } from "../contracts/wish.ts";
import { followBucket } from "./bucket.ts";
import type { Bus } from "./connect.ts";
import type { Following } from "./follower.ts";
import { HOST_WISHES } from "./streams.ts";

export interface StandingWish extends HostWish {
  /** The broker's time at which the host has to be empty, ms since the epoch; null for never. */
  emptyAtMs: number | null;
}

/** `onWish` is told null when a wish is taken back. */
export const followHostWishes = (
  bus: Bus,
  log: Logger,
  onWish: (hostId: string, wish: StandingWish | null) => void,
): Promise<Following> =>
  followBucket(bus, HOST_WISHES, ({ key: hostId, value, timeMs }) => {
    if (value === undefined) return onWish(hostId, null);
    const wish = HostWish.safeParse(value);
    if (!wish.success) return log.warn({ hostId, value }, "nobody can read this wish about a host");
    const { deadlineMs } = wish.data;
    onWish(hostId, { ...wish.data, emptyAtMs: deadlineMs === null ? null : timeMs + deadlineMs });
  });
