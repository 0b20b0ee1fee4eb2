// The lease: until when what runs here may act. Pure: clocks come as arguments. It ends a fixed time after the
// latest stamp that travelled to the server and back, whenever the answer came.

/** One moment on this machine's three clocks, ms: a wall clock may jump, a monotonic one stands still in sleep. */
export interface Stamp {
  monotonicMs: number;
  wallMs: number;
  /** Counts sleep; null where there is no such clock. */
  uptimeMs: number | null;
}

/** The largest of the three differences: the clock that errs by too little is outvoted. */
function elapsedMs(now: Stamp, then: Stamp): number {
  const uptime = now.uptimeMs === null || then.uptimeMs === null ? 0 : now.uptimeMs - then.uptimeMs;
  return Math.max(now.monotonicMs - then.monotonicMs, now.wallMs - then.wallMs, uptime);
}

export class Lease {
  readonly #leaseMs: number;
  readonly #supervisor: string;
  #stamp: Stamp | null = null;
  #stretches = 0;
  /** The stretch that holds, or held at the last look. */
  #stretch: string | null = null;
  /** Stamps taken before this moment are worth nothing any more. */
  #lapsedAt: Stamp | null = null;

  constructor(leaseMs: number, supervisor: string) {
    this.#leaseMs = leaseMs;
    this.#supervisor = supervisor;
  }

  /** A stamp has come back, acknowledged. */
  renew(stamp: Stamp, now: Stamp): void {
    // What had lapsed unnoticed ends its stretch first.
    this.look(now);
    if (this.#lapsedAt !== null && stamp.monotonicMs < this.#lapsedAt.monotonicMs) return;
    if (this.#stamp === null || stamp.monotonicMs > this.#stamp.monotonicMs) this.#stamp = stamp;
    if (this.#stretch === null && this.#holds(now))
      this.#stretch = `${this.#supervisor}.${++this.#stretches}`;
  }

  /** The unbroken stretch that holds now; null, from this moment on, if the lease has ended. */
  look(now: Stamp): string | null {
    if (this.#stretch !== null && !this.#holds(now)) this.#stretch = null;
    return this.#stretch;
  }

  /** How long the lease still lasts if no other stamp comes back, ms; 0 when none holds. */
  remainingMs(now: Stamp): number {
    if (this.#stamp === null || this.look(now) === null) return 0;
    return Math.max(1, this.#leaseMs - elapsedMs(now, this.#stamp));
  }

  /** Whoever says that the machine has slept is believed: only a stamp taken after this begins a new stretch. */
  lapse(now: Stamp): void {
    this.#stretch = null;
    this.#stamp = null;
    this.#lapsedAt = now;
  }

  #holds(now: Stamp): boolean {
    return this.#stamp !== null && elapsedMs(now, this.#stamp) <= this.#leaseMs;
  }
}
