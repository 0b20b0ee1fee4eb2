// Finds or fetches one real nats-server before the tests of a project run. It must never start one: every test
// starts its own.
import type { TestProject } from "vitest/node";
import { locateNatsServer } from "../../shared/nats-server/locate.ts";

declare module "vitest" {
  export interface ProvidedContext {
    natsServerProgram: string;
  }
}

export default async function provideNatsServer(project: TestProject): Promise<void> {
  const { path } = await locateNatsServer({ onProgress: (text) => console.error(text) });
  project.provide("natsServerProgram", path);
}
