// Watches the clock of a distro, which may stay behind after Windows has slept, and sets it by this machine's. WSL has one
// clock for all its distros, and it is changed for all of them. It must never act on one late word of a supervisor's.
import type { Logger } from "pino";
import { CLOCK_WRONG_MS } from "../../../shared/contracts/heartbeat.ts";
import type { Wsl } from "./wsl.ts";

const LOOK_MS = 5_000;
/** Wrong at so many looks in a row: one tells as much of a supervisor that was slow. */
const LOOKS = 2;
/** After so many attempts in vain somebody else has to help, and they become rare. */
const ATTEMPTS = 3;
const AGAIN_MS = 600_000;
const SET_MS = 20_000;

/** `hwclock` is not in every distro, and its clock may be wrong as well: where it has not helped it is not asked again. */
const SET = `[ "$2" = 1 ] && command -v hwclock > /dev/null 2>&1 && hwclock -s && exit 0
exec date -u -s "@$1" > /dev/null`;

export function watchClock(options: {
  distro: string;
  /** The distro's clock less this machine's, ms; null while nobody tells. */
  aheadMs: () => number | null;
  wsl: Pick<Wsl, "run">;
  log: Logger;
}): Disposable {
  const { distro, aheadMs, wsl, log } = options;
  let looks = 0;
  let attempts = 0;
  let notBeforeMs = Number.NEGATIVE_INFINITY;

  async function set(wrongByMs: number): Promise<void> {
    attempts++;
    log.warn({ distro, aheadMs: Math.round(wrongByMs) }, "the distro's clock is wrong, and is set");
    if (attempts >= ATTEMPTS) {
      log.error({ distro }, "its clock does not stay right: `wsl --shutdown` helps, once nothing runs there");
      notBeforeMs = performance.now() + AGAIN_MS;
    }
    const argv = ["/bin/sh", "-c", SET, "sh", (Date.now() / 1_000).toFixed(3), String(attempts)];
    const end = await wsl.run({ distro, user: "root", argv, timeoutMs: SET_MS });
    if (!end.ok) log.error(end.failure, "the distro's clock cannot be set");
    else if (end.value.exitCode !== 0)
      log.error({ distro, words: end.value.stderr.trim() }, "the distro's clock cannot be set");
  }

  function look(): void {
    const ms = aheadMs();
    if (ms === null) return;
    const isWrong = Math.abs(ms) > CLOCK_WRONG_MS;
    looks = isWrong ? looks + 1 : 0;
    if (!isWrong && attempts > 0) {
      log.info({ distro }, "the distro's clock is right again");
      attempts = 0;
      notBeforeMs = Number.NEGATIVE_INFINITY;
    }
    if (looks < LOOKS || performance.now() < notBeforeMs) return;
    looks = 0;
    void set(ms);
  }

  const timer = setInterval(look, LOOK_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
