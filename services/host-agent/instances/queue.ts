// Attempts between two instances: each has given one back, and waits for another until what it gave back is no more.
// They are served in the order in which they came; nobody is served while what it has left might still act.

export interface ExchangeQueue<Instance> {
  readonly length: number;
  /** `given`: the number of the instance that was given back. Rejects with the signal's reason. */
  join(given: number, signal: AbortSignal): Promise<Instance>;
  /** The instance of this number is no more. */
  gone(given: number): void;
  /** Gives each that may have one what `next` has, as long as that has any. */
  serve(next: () => Instance | null): void;
}

export function exchangeQueue<Instance>(): ExchangeQueue<Instance> {
  const waiting: { given: number | null; take: (instance: Instance) => void }[] = [];

  return {
    get length() {
      return waiting.length;
    },
    async join(given, signal) {
      signal.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<Instance>();
      const asked = { given, take: resolve };
      const leave = () => {
        const at = waiting.indexOf(asked);
        if (at !== -1) waiting.splice(at, 1);
        reject(signal.reason as Error);
      };
      waiting.push(asked);
      signal.addEventListener("abort", leave);
      return promise.finally(() => signal.removeEventListener("abort", leave));
    },
    gone(given) {
      for (const one of waiting) if (one.given === given) one.given = null;
    },
    serve(next) {
      for (const one of waiting.filter((asked) => asked.given === null)) {
        const instance = next();
        if (instance === null) return;
        waiting.splice(waiting.indexOf(one), 1);
        one.take(instance);
      }
    },
  };
}
