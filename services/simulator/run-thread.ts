// What a thread of `compare.ts` does: one run.
import { parentPort, workerData } from "node:worker_threads";
import { type Job, runJob } from "./compare.ts";

parentPort?.postMessage(await runJob(workerData as Job));
