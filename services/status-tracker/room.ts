// Has in words, for whoever asks, what the bus lacks room for. Each is also logged once, when it begins.
import type { Logger } from "pino";
import type { Bus } from "../../shared/bus/connect.ts";
import { cramped, cutShort } from "../../shared/bus/provision.ts";
import { makeRounds } from "./rounds.ts";

const EVERY_MS = 5_000;

export interface Room extends AsyncDisposable {
  notices(): string[];
}

export async function watchRoom(bus: Bus, log: Logger): Promise<Room> {
  const small = await cramped(bus);
  for (const words of small) log.warn(words);
  let short = new Map<string, string>();

  async function look(): Promise<void> {
    const now = await cutShort(bus);
    for (const [stream, words] of now) if (!short.has(stream)) log.warn(words);
    for (const stream of short.keys())
      if (!now.has(stream)) log.info(`${stream} keeps everything for as long as it is meant to again`);
    short = now;
  }

  const rounds = makeRounds({ bus, everyMs: EVERY_MS, round: look });
  return {
    notices: () => [...small, ...short.values()],
    [Symbol.asyncDispose]: () => rounds[Symbol.asyncDispose](),
  };
}
