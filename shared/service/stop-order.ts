// How a service that runs as a process of its own is told to stop over the bus. What follows is what follows on SIGTERM.
import { hostname } from "node:os";
import { serve } from "../bus/ask.ts";
import type { Bus } from "../bus/connect.ts";
import { answer } from "../contracts/failure.ts";
import {
  ALL_INSTANCES,
  type ServiceName,
  type StoppingService,
  StopService,
  stopSubject,
} from "../contracts/service.ts";
import type { ServiceContext } from "./run.ts";

export interface StopOrderOptions {
  /** Of a host agent its host's id; else the machine and the process. */
  instance?: string;
  /** Done first: the service stops once it resolves. */
  before?: (order: StopService) => Promise<void>;
}

/** Answers the order to stop until it is disposed. A service that cannot be stopped by itself answers none. */
export function serveStopOrder(
  bus: Bus,
  { stop, log }: ServiceContext,
  service: ServiceName,
  { instance = instanceOfProcess(), before = async () => {} }: StopOrderOptions = {},
): Disposable {
  if (stop === undefined) return { [Symbol.dispose]: () => {} };
  const stopping: StoppingService = { service, instance };
  let ordered = false;
  const obey = async (order: StopService) => {
    await before(order);
    stop("an order over the bus");
  };
  const subscriptions = [instance, ALL_INSTANCES].map((to) =>
    serve(
      bus,
      stopSubject.build({ service, instance: to }),
      StopService,
      (order) => {
        if (!ordered) {
          log.info({ ...stopping, ...order }, "ordered to stop");
          // Answered first.
          setImmediate(() => void obey(order));
        }
        ordered = true;
        return answer(stopping);
      },
      { onBug: (error) => log.error(error, "the order to stop met a bug") },
    ),
  );
  return {
    [Symbol.dispose]() {
      for (const subscription of subscriptions) subscription.unsubscribe();
    },
  };
}

function instanceOfProcess(): string {
  const machine = hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "")
    .slice(0, 60);
  return `${machine === "" ? "machine" : machine}-${process.pid}`;
}
