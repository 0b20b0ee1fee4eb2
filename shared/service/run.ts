// How each service runs as a process of its own: configuration from the environment, JSON logs on stdout, a
// graceful stop on SIGINT or SIGTERM, and a forced one when that takes too long.
import { constants } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { type DestinationStream, type Logger, pino } from "pino";
import { isUnanswered } from "../bus/ask.ts";
import { BusError, type BusOptions, withoutSecret } from "../bus/connect.ts";
import { ConfigurationError, type Environment } from "../config/environment.ts";
import { readSettings } from "../config/mesh-config.ts";

export interface ServiceContext {
  /** `NATS_URL` is set. */
  environment: Environment;
  log: Logger;
  /** Ends the whole service: it cannot go on, for a reason that a person can do something about. */
  fail?: (error: BusError) => void;
  /** Ends the whole service gracefully, as SIGTERM does; where there is none it cannot be stopped by itself. */
  stop?: (why: string) => void;
}

export type Start = (context: ServiceContext) => Promise<AsyncDisposable>;

const START_AGAIN_MS = 1_000;
/** A service that was told to stop has ended after so long, whatever it is at, ms. Its manager has to wait longer. */
export const STOP_DEADLINE_MS = 15_000;
/** SIGHUP and SIGBREAK: its console is closed, or asks it to end. */
const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"] as const;

function createLog(name: string, environment: Environment, destination?: DestinationStream): Logger {
  const options = {
    name,
    level: environment.MESH_LOG_LEVEL,
    redact: ["token", "*.token", "NATS_TOKEN", "MESH_GITHUB_WEBHOOK_SECRET"],
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/** The bus as a service connects to it: it waits for a server that is not there yet. */
export function busOptions({ environment, log, fail }: ServiceContext, name: string): BusOptions {
  if (environment.NATS_URL === undefined)
    throw new ConfigurationError(
      "NATS_URL is not set: expected the bus's address, such as nats://127.0.0.1:4222",
    );
  return {
    url: environment.NATS_URL,
    name,
    caFile: environment.NATS_CA_FILE,
    wait: true,
    onWaiting: (reason) => log.warn({ reason }, "waiting for the bus"),
    onUnusable: (error) => {
      log.fatal({ reason: error.message }, "the bus cannot be used any more");
      fail?.(error);
    },
  };
}

/** Runs one service until it is told to stop; sets the exit code. `destination` takes its log, else stdout does. */
export async function runService(name: string, start: Start, destination?: DestinationStream): Promise<void> {
  const stopped = Promise.withResolvers<string>();
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  for (const signal of STOP_SIGNALS)
    if (signal in constants.signals) process.on(signal, () => stopped.resolve(signal));
  let log: Logger | undefined;
  try {
    const environment = await readSettings();
    log = createLog(name, environment, destination);
    const url = busOptions({ environment, log }, name).url;
    log.info({ bus: withoutSecret(url), pid: process.pid }, "starting");
    const context = { environment, log, fail: failed.reject, stop: stopped.resolve };
    const service = await Promise.race([startPatiently(start, context), stopped.promise, failed.promise]);
    if (typeof service === "string") process.exit(0);
    log.info("ready");
    log.info({ why: await Promise.race([stopped.promise, failed.promise]) }, "stopping");
    setTimeout(() => process.exit(1), STOP_DEADLINE_MS).unref();
    await service[Symbol.asyncDispose]();
    process.exit(0);
  } catch (error) {
    if (error instanceof ConfigurationError || error instanceof BusError) {
      const words = `${name}: ${error.message}\n`;
      process.stderr.write(words);
      destination?.write(words);
      process.exit(2);
    }
    log?.fatal(error, "this is a bug");
    throw error;
  }
}

/** A bus that goes away while a service begins is waited for, as it is before and after. */
async function startPatiently(start: Start, context: ServiceContext): Promise<AsyncDisposable> {
  for (;;) {
    try {
      return await start(context);
    } catch (error) {
      if (!isUnanswered(error)) throw error;
      context.log.warn("the bus went away while this service began; beginning again");
      await delay(START_AGAIN_MS);
    }
  }
}
