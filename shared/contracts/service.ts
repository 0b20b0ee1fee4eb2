// What a process of the mesh is told as such: to stop. Whoever may publish on the bus may say it.
import { z } from "zod";
import { subject } from "./subject.ts";

/** `mesh-up`: all of them in one process, which end together. */
export const ServiceName = z.enum(["gateway", "scheduler", "status-tracker", "host-agent", "mesh-up"]);
export type ServiceName = z.infer<typeof ServiceName>;

/** `instance` is a host agent's host id, and of another service the machine and the process; or `all` of the service. */
export const stopSubject = subject("mesh.service.{service}.{instance}.stop");

export const ALL_INSTANCES = "all";

export const InstanceId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,99}$/, "expected an instance: lower-case letters, digits and hyphens");

export const StopService = z.object({
  /** What runs on a host may go on so long; the others finish what they have in hand, and take no longer for it. */
  deadlineMs: z.int().nonnegative().optional(),
});
export type StopService = z.infer<typeof StopService>;

/** Said before it begins to stop. */
export const StoppingService = z.object({ service: ServiceName, instance: z.string() });
export type StoppingService = z.infer<typeof StoppingService>;
