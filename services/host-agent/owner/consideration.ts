// Keeps to what the machine's owner has said: tells why nothing may begin, and hands back what runs when it has to go. It
// performs what `may-work.ts` and `hand-back.ts` decide, and decides nothing itself.
import type { Logger } from "pino";
import type { When } from "../../../shared/config/when.ts";
import type { OwnerReading, Withheld } from "../../../shared/contracts/heartbeat.ts";
import { toHandBack } from "./hand-back.ts";
import { localOffset } from "./hours.ts";
import { whyWithheld } from "./may-work.ts";
import type { Pause } from "./pause.ts";

export interface ConsiderationOptions {
  hostId: string;
  when: When;
  /** What runs may go on for so long once the machine is withheld; null: to its end, ms. */
  graceMs: number | null;
  keptBytes: number;
  owner(): OwnerReading;
  pause(): Pause | null;
  /** Of the machine's own memory. */
  availableBytes(): number;
  /** First called when this function has returned. */
  atWork(): number;
  /** Ends the youngest so many. */
  handBack(count: number, message: string): void;
  /** It may begin work now, or may not any more. */
  onChange(): void;
  log: Logger;
}

export interface Consideration extends Disposable {
  /** By the owner's word; null while work may begin. */
  withheld(): Withheld | null;
}

const LOOK_MS = 1_000;
const BEGINS_NOTHING = "begins no work, by its owner's rules";

export function startConsideration(options: ConsiderationOptions): Consideration {
  const { hostId, when, graceMs, keptBytes, owner, pause, availableBytes, log } = options;
  const decide = () => whyWithheld(when, pause(), owner(), Date.now(), localOffset);
  let withheld = decide();
  if (withheld !== null) log.info({ withheld }, BEGINS_NOTHING);
  let withheldSinceMs: number | null = null;
  let lackingSinceMs: number | null = null;

  function look(): void {
    const nowMs = performance.now();
    const before = withheld;
    withheld = decide();
    withheldSinceMs = withheld === null ? null : (withheldSinceMs ?? nowMs);
    lackingSinceMs = availableBytes() < keptBytes ? (lackingSinceMs ?? nowMs) : null;
    if ((withheld === null) !== (before === null)) {
      log.info({ withheld }, withheld === null ? "may begin work" : BEGINS_NOTHING);
      options.onChange();
    }
    const since = (ms: number | null) => (ms === null ? null : nowMs - ms);
    const back = toHandBack(
      {
        atWork: options.atWork(),
        withheldForMs: since(withheldSinceMs),
        atOnce: withheld !== null && pause()?.handBack === true,
        lackingForMs: since(lackingSinceMs),
      },
      graceMs,
    );
    if (back === null) return;
    if (back.because === "memory") lackingSinceMs = nowMs;
    const why =
      back.because === "memory" ? "less memory is free than its owner keeps" : (withheld?.why ?? "");
    options.handBack(back.count, `host ${hostId} handed it back: ${why}`);
  }

  const timer = setInterval(look, LOOK_MS);
  return { withheld: () => withheld, [Symbol.dispose]: () => clearInterval(timer) };
}
