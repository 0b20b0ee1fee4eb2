// One thing that is read again and again in the background, at its own pace: whoever asks gets the last value at once, and
// a reading that hangs or fails delays nobody. One reading at a time; nobody is told of a failure but by the value's age.

export interface Gauge<Value> extends Disposable {
  latest(): Value;
  /** Since the value was read, ms; infinite before the first. */
  ageMs(): number;
  /** Reads it now, unless a reading is under way. */
  read(): void;
  /** Resolves when there is a first value, or there was none for so long, ms. */
  first(patienceMs: number): Promise<void>;
}

/** `initial` stands until there is a first value. */
export function gauge<Value>(
  initial: Value,
  read: () => Promise<Value>,
  { everyMs }: { everyMs: number },
): Gauge<Value> {
  let value = initial;
  let readAtMs = Number.NEGATIVE_INFINITY;
  let reading = false;
  const first = Promise.withResolvers<void>();
  const look = async () => {
    if (reading) return;
    reading = true;
    try {
      value = await read();
      readAtMs = performance.now();
      first.resolve();
    } catch {
      // The last one stands, and ages.
    } finally {
      reading = false;
    }
  };
  void look();
  const timer = setInterval(() => void look(), everyMs);
  timer.unref();
  return {
    latest: () => value,
    read: () => void look(),
    ageMs: () => performance.now() - readAtMs,
    async first(patienceMs) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const patience = setTimeout(resolve, patienceMs);
      await Promise.race([first.promise, promise]).finally(() => clearTimeout(patience));
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
