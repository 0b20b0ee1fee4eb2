// How this host is: what its machine has to give, what its owner does and lets it do. Heartbeats and admission both tell
// of the same readings.
import type { Logger } from "pino";
import type { Environment } from "../../../shared/config/environment.ts";
import type { Heartbeat, Withheld } from "../../../shared/contracts/heartbeat.ts";
import type { Capacity } from "../held/admission.ts";
import { type ConsiderationOptions, startConsideration } from "../owner/consideration.ts";
import { PAUSE_EVERY_MS, readPauses } from "../owner/pause.ts";
import { watchOwner } from "../owner/watch.ts";
import { gauge } from "./gauge.ts";
import { offeredMemory, shortOfMemory } from "./offered-memory.ts";
import { type PlaceReading, startMeter } from "./readings.ts";

/** Nothing waits longer for what the owner does to be read once, ms. */
const FIRST_MS = 2_000;

export interface Condition extends Disposable {
  /** Where attempts run has become another place. */
  placeChanged(): void;
  /** For heartbeats. */
  said(): Pick<Heartbeat, "cpu" | "memory" | "memoryOf" | "disk" | "caches" | "owner" | "withheld">;
  /** For admission. */
  judged(): Omit<
    Capacity,
    "slots" | "labels" | "versions" | "runners" | "secrets" | "takesStrangers" | "draining"
  >;
}

export interface ConditionOptions
  extends Pick<ConsiderationOptions, "hostId" | "atWork" | "handBack" | "onChange"> {
  environment: Environment;
  dataDir: string;
  readPlace: () => Promise<PlaceReading>;
  /** The virtual machine that attempts run in is up; null where there is none. */
  isVmUp: (() => boolean) | null;
  /** Why this host can do no work at all as it is set up; null if it can. */
  unable: () => string | null;
  log: Logger;
}

/** Resolves with first readings, or when there were none for some seconds. */
export async function startCondition(options: ConditionOptions): Promise<Condition> {
  const { environment, dataDir, readPlace } = options;
  using stack = new DisposableStack();
  const keptBytes = environment.MESH_HOST_KEEP_MEMORY;
  const meter = stack.use(await startMeter(readPlace));
  const owner = stack.use(watchOwner());
  const { MESH_HOST_PAUSE_DIR: ownersFolder } = environment;
  const folders = [dataDir, ...(ownersFolder === undefined ? [] : [ownersFolder])];
  const pause = stack.use(
    gauge(await readPauses(folders), () => readPauses(folders), { everyMs: PAUSE_EVERY_MS }),
  );
  await owner.first(FIRST_MS);
  const consideration = stack.use(
    startConsideration({
      ...options,
      when: environment.MESH_HOST_WHEN,
      graceMs: environment.MESH_HOST_GRACE,
      keptBytes,
      owner: owner.latest,
      pause: pause.latest,
      availableBytes: () => meter.machine().availableBytes,
    }),
  );
  const vm = () => meter.place().vm ?? null;
  /** Before it is heard, the settings tell what it will have. */
  const vmToCome = () => {
    const { vmToComeBytes: bytes } = meter.place();
    return bytes === undefined ? null : { totalBytes: bytes, availableBytes: bytes };
  };
  const vmMemoryBytes = (): number | null => {
    const known = vm() ?? (options.isVmUp?.() ? null : vmToCome());
    return known?.totalBytes ?? null;
  };
  const memory = () => offeredMemory(meter.machine(), vm() ?? vmToCome(), keptBytes);
  const withheld = (): Withheld | null => {
    const why = options.unable() ?? meter.stuck() ?? shortOfMemory(vm());
    return consideration.withheld() ?? (why === null ? null : { why, until: null });
  };
  const owned = stack.move();
  return {
    placeChanged: meter.readPlace,
    said: () => ({
      cpu: meter.load(),
      memory: memory(),
      memoryOf: { machine: meter.machine(), vm: vm(), keptBytes },
      disk: meter.place().disk,
      caches: meter.place().caches,
      owner: owner.latest(),
      withheld: withheld(),
    }),
    judged: () => {
      const { totalBytes, availableBytes } = memory();
      const { disk } = meter.place();
      return {
        ...(options.isVmUp === null ? {} : { vmMemoryBytes: vmMemoryBytes() }),
        cores: meter.load().cores,
        memoryTotalBytes: totalBytes,
        memoryAvailableBytes: availableBytes,
        diskTotalBytes: disk.totalBytes,
        diskFreeBytes: disk.freeBytes,
        withheld: withheld()?.why ?? null,
      };
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}
