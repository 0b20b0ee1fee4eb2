// Notices that this machine has slept, or this process stood still: the guest's own clocks may not have counted
// that time. It must never judge what follows from it.

/** Calls back after every gap of more than `limitMs` beyond its own pace, by whichever clock saw it. */
export function watchForStandstill(options: {
  everyMs: number;
  limitMs: number;
  onGap: (gapMs: number) => void;
}): Disposable {
  const { everyMs, limitMs, onGap } = options;
  const clocks = () => [performance.now(), Date.now()];
  let before = clocks();
  const timer = setInterval(() => {
    const now = clocks();
    const gapMs = Math.max(...now.map((ms, index) => ms - (before[index] ?? ms))) - everyMs;
    before = now;
    if (gapMs > limitMs) onGap(gapMs);
  }, everyMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
