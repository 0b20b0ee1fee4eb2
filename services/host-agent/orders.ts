// What a host is ordered over the bus, and who answers. It decides nothing itself.
import { serve } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { answer } from "../../shared/contracts/failure.ts";
import {
  DrainOrder,
  type DrainReply,
  orderSubject,
  RunOrder,
  SayOrder,
  StopOrder,
  WhoOrder,
  type WhoReply,
} from "../../shared/contracts/order.ts";
import type { Attempts } from "./held/attempts.ts";

/** Answers orders until it is disposed. */
export function serveOrders(
  bus: Bus,
  who: WhoReply,
  attempts: Attempts,
  drain: (order: DrainOrder) => DrainReply,
  onBug: (error: unknown) => void,
): Disposable {
  const subject = (order: string) => orderSubject.build({ hostId: who.hostId, order });
  const subscriptions = [
    serve(bus, subject("run"), RunOrder, async (order) => answer(await attempts.run(order)), { onBug }),
    serve(bus, subject("stop"), StopOrder, (order) => answer(attempts.stop(order)), { onBug }),
    serve(bus, subject("say"), SayOrder, (order) => answer(attempts.say(order)), { onBug }),
    serve(bus, subject("drain"), DrainOrder, (order) => answer(drain(order)), { onBug }),
    serve(bus, subject("who"), WhoOrder, () => answer(who), { onBug }),
  ];
  return {
    [Symbol.dispose]() {
      for (const subscription of subscriptions) subscription.unsubscribe();
    },
  };
}
