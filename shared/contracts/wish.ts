// What an operator wishes of a host: that nothing new is placed there, and by when what runs there has to be gone.
import { z } from "zod";

export const HostWish = z.object({
  /** `cordoned`: what runs there goes on. `draining`: what still runs there at the deadline is stopped. */
  kind: z.enum(["cordoned", "draining"]),
  reason: z.string().max(500).nullable(),
  /** From the broker's time of the wish; null for a cordon. */
  deadlineMs: z.int().nonnegative().nullable(),
});
export type HostWish = z.infer<typeof HostWish>;
