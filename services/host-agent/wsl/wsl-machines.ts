// Where a Windows host's machines come from: one distro of ours for all instances, or a copy of it for each. It must
// never touch a distro that is not this host's.
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { silenceMs } from "../../../shared/contracts/lease.ts";
import { type Machine, type MachineSource, sharedMachine } from "../instances/machine.ts";
import { unlessAborted } from "../supervisor/guest-keeper.ts";
import { type CopiedDistro, copyDistro, copySource, dropCopySource, removeDistro } from "./copied-distro.ts";
import {
  type DistroOptions,
  endInside,
  openDistro,
  shutDownIfBroken,
  valueOf,
  WslProblem,
} from "./distro-guest.ts";
import { GOLDEN_DISTRO, instanceDistro, isInstanceOf } from "./distro-layout.ts";
import { madeOnce } from "./made-once.ts";

/** All instances in the golden distro. */
export function goldenDistro(options: DistroOptions): MachineSource {
  return sharedMachine(
    async (signal) => {
      await unlessAborted(requireGolden(options), signal);
      return openDistro(GOLDEN_DISTRO, options, signal);
    },
    () => endInside(GOLDEN_DISTRO, options),
  );
}

/** Each instance in a distro of its own, below `folder`. */
export function copiedDistros(options: DistroOptions & { folder: string }): MachineSource {
  const { wsl, folder, installation, log } = options;
  const machines = new Map<number, Machine>();
  /** Made anew in each life of this agent: the golden distro may have become another one since the last. */
  const source = madeOnce(async () => {
    await requireGolden(options);
    await dropCopySource(folder);
    return valueOf(await copySource(wsl, folder));
  });
  let removing: Promise<boolean> = Promise.resolve(true);

  const copyOf = (number: number): CopiedDistro => ({
    distro: instanceDistro(installation, number),
    folder: path.join(folder, String(number)),
  });

  async function open(number: number, signal: AbortSignal): Promise<Machine> {
    // It would remove what is made now as well.
    const areGone = await unlessAborted(removing, signal);
    const disk = await unlessAborted(source(), signal);
    // Where a former life's is registered still, this one's folder is its own, and so is the name.
    if (!areGone) valueOf(await removeDistro(wsl, copyOf(number)));
    valueOf(await copyDistro(wsl, disk, copyOf(number), signal));
    try {
      const machine = await openDistro(copyOf(number).distro, options, signal);
      machines.set(number, machine);
      return machine;
    } catch (error) {
      const removed = await removeDistro(wsl, copyOf(number));
      if (!removed.ok) log.error(removed.failure, "a distro that could not be used is left");
      throw error;
    }
  }

  async function close(number: number): Promise<void> {
    await machines.get(number)?.[Symbol.asyncDispose]();
    machines.delete(number);
    valueOf(await removeDistro(wsl, copyOf(number)));
  }

  /** Those of a former life, with everything that runs there; false if any may be left. */
  async function removeLeft(): Promise<boolean> {
    const listed = await wsl.list();
    if (!listed.ok) log.error(listed.failure, "cannot see what a former life left in WSL");
    const names = listed.ok ? listed.value.map(({ name }) => name) : [];
    let areGone = listed.ok;
    for (const name of names.filter((one) => isInstanceOf(installation, one))) {
      const removed = await removeDistro(wsl, copyOf(Number(name.split("-").at(-1))));
      if (removed.ok) continue;
      log.error({ distro: name, ...removed.failure }, "a distro of a former life cannot be removed");
      areGone = false;
    }
    return areGone;
  }

  return {
    async endFormerLife() {
      const deadline = performance.now() + silenceMs(options.times);
      removing = removeLeft();
      const areGone = await Promise.race([removing, delay(silenceMs(options.times), false, { ref: false })]);
      // What cannot be removed is frozen by then, and nobody lets it go on. Nothing else may keep this process up yet.
      if (!areGone) await delay(Math.max(0, deadline - performance.now()));
    },
    open,
    close,
    async [Symbol.asyncDispose]() {
      const closed = [...machines.keys()].map((number) => close(number));
      for (const outcome of await Promise.allSettled(closed))
        if (outcome.status === "rejected")
          log.error({ error: outcome.reason as unknown }, "a distro is left");
    },
  };
}

async function requireGolden(options: DistroOptions): Promise<void> {
  const there = await options.wsl.list();
  if (!there.ok) {
    const problem = new WslProblem(there.failure);
    await shutDownIfBroken(problem, options);
    throw problem;
  }
  if (there.value.some(({ name }) => name === GOLDEN_DISTRO)) return;
  const message = `there is no distro ${GOLDEN_DISTRO}: make it with \`mesh host image build\` and \`mesh host image import\``;
  throw new WslProblem({ reason: "no-such-distro", code: null, message });
}
