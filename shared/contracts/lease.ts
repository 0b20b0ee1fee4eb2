// The times of the lease protocol, in one place with the reason why they suffice. A test may shorten
// them all alike; changing one ratio means changing the argument below.
//
// A tree may act while its supervisor's lease lasts: `leaseMs` after a stamp that travelled with an
// acknowledged heartbeat. The heartbeat is stored after the stamp was taken, so whoever sees silence since
// that heartbeat for `leaseMs` knows that the lease has ended. `marginMs` covers what the supervisor may be
// late: its check period, the time to freeze a tree, and the drift of two clocks over one lease.

/** Milliseconds. */
export interface LeaseTimes {
  leaseMs: number;
  marginMs: number;
  heartbeatMs: number;
  /** How often the supervisor looks at its lease. */
  checkMs: number;
  /** A tree frozen for so long is ended. */
  frozenLimitMs: number;
}

export const LEASE: LeaseTimes = {
  leaseMs: 12_000,
  marginMs: 3_000,
  heartbeatMs: 2_000,
  checkMs: 250,
  frozenLimitMs: 3_600_000,
};

/** Silence of a host after which its attempts are lost, ms. */
export const silenceMs = (times: LeaseTimes): number => times.leaseMs + times.marginMs;
