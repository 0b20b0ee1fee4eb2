// Virtual time for many simulated processes in one real one. The product's code runs as it is: what it asks of clocks
// and timers is answered for the process that it runs in, and everything happens in one order, which can be had again.
import { AsyncLocalStorage } from "node:async_hooks";
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import timers from "node:timers/promises";

/** One life of a simulated process: from its start until it ends or is killed. */
export interface Life {
  readonly name: string;
  dead: boolean;
  /** What a process's clocks say, ms. */
  monotonicMs(): number;
  wallMs(): number;
  /** Stopped or asleep: what is to happen in it waits. */
  held(): boolean;
}

interface Happening {
  atMs: number;
  order: number;
  life: Life | null;
  act: () => void;
  cancelled: boolean;
}

const living = new AsyncLocalStorage<{ life: Life; time: VirtualTime }>();
const real = { setImmediate, setTimeout, setInterval, clearTimeout, clearInterval };

export class VirtualTime {
  nowMs = 0;
  readonly #heap = new Heap();
  #waiting: Happening[] = [];
  #orders = 0;
  #uuids = 0;

  /** In the life, or in nobody's (null: the broker's, the sandbox's). */
  after(life: Life | null, delayMs: number, act: () => void): { cancel(): void } {
    const happening = {
      atMs: this.nowMs + Math.max(0, delayMs),
      order: ++this.#orders,
      life,
      act,
      cancelled: false,
    };
    this.#heap.push(happening);
    return { cancel: () => void (happening.cancelled = true) };
  }

  /** Runs the code as this life's, with all that follows from it. */
  as<Value>(life: Life, act: () => Value): Value {
    return living.run({ life, time: this }, act);
  }

  /** Lets happen what has waited for lives that are no longer held. */
  release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const happening of waiting)
      this.#heap.push({ ...happening, atMs: this.nowMs, order: ++this.#orders });
  }

  /** Advances until `untilMs`; `look` is called after everything that happens, and stops it by returning true. */
  async run(untilMs: number, look: () => boolean): Promise<void> {
    for (;;) {
      const next = this.#heap.peek();
      if (next === undefined || next.atMs > untilMs) break;
      this.#heap.pop();
      if (next.cancelled || next.life?.dead) continue;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      if (next.life?.held()) {
        this.#waiting.push(next);
        continue;
      }
      if (next.life === null) next.act();
      else this.as(next.life, next.act);
      // Everything that follows at once follows now.
      await new Promise((done) => real.setImmediate(done));
      if (look()) return;
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  uuid(): `${string}-${string}-${string}-${string}-${string}` {
    return `${String(++this.#uuids).padStart(8, "0")}-0000-4000-8000-000000000000`;
  }
}

/** A binary heap, by time and then by order. */
class Heap {
  readonly #items: Happening[] = [];

  peek(): Happening | undefined {
    return this.#items[0];
  }

  push(item: Happening): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent];
      if (above === undefined || !before(item, above)) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  pop(): void {
    const items = this.#items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const right = items[child + 1];
      const left = items[child];
      if (left === undefined) break;
      if (right !== undefined && before(right, left)) child++;
      const below = items[child];
      if (below === undefined || !before(below, last)) break;
      items[at] = below;
      at = child;
    }
    items[at] = last;
  }
}

const before = (one: Happening, other: Happening): boolean =>
  one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);

interface Timer {
  cancel(): void;
  ref(): Timer;
  unref(): Timer;
  hasRef(): boolean;
  [Symbol.dispose](): void;
}

function timer(cancel: () => void): Timer {
  const self: Timer = {
    cancel,
    ref: () => self,
    unref: () => self,
    hasRef: () => true,
    [Symbol.dispose]: cancel,
  };
  return self;
}

// Outside of a simulated life everything stays as it was, so that a test runner's own timers go on.
const performanceNow = performance.now.bind(performance);
const dateNow = Date.now;
const { randomUUID } = crypto;
const realDelay = timers.setTimeout;

performance.now = () => living.getStore()?.life.monotonicMs() ?? performanceNow();
Date.now = () => living.getStore()?.life.wallMs() ?? dateNow();
crypto.randomUUID = (options) => living.getStore()?.time.uuid() ?? randomUUID(options);

globalThis.setTimeout = ((act: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
  const here = living.getStore();
  if (here === undefined) return real.setTimeout(act, ms, ...args);
  const happening = here.time.after(here.life, ms, () => act(...args));
  return timer(() => happening.cancel());
}) as unknown as typeof setTimeout;

globalThis.setInterval = ((act: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
  const here = living.getStore();
  if (here === undefined) return real.setInterval(act, ms, ...args);
  const again = () =>
    here.time.after(here.life, ms, () => {
      happening = again();
      act(...args);
    });
  let happening = again();
  return timer(() => happening.cancel());
}) as unknown as typeof setInterval;

const clear =
  (realClear: (handle: never) => void) =>
  (handle: Timer | undefined): void => {
    if (handle !== undefined && "cancel" in handle) handle.cancel();
    else realClear(handle as never);
  };
globalThis.clearTimeout = clear(real.clearTimeout) as typeof clearTimeout;
globalThis.clearInterval = clear(real.clearInterval) as typeof clearInterval;

timers.setTimeout = (async (ms?: number, value?: unknown, options?: { signal?: AbortSignal }) => {
  const here = living.getStore();
  if (here === undefined) return realDelay(ms, value, options);
  const { signal } = options ?? {};
  signal?.throwIfAborted();
  return await new Promise<unknown>((resolve, reject) => {
    const happening = here.time.after(here.life, ms ?? 0, () => resolve(value));
    signal?.addEventListener(
      "abort",
      () => {
        happening.cancel();
        reject(signal.reason as Error);
      },
      { once: true },
    );
  });
}) as typeof timers.setTimeout;
syncBuiltinESMExports();
