// Where instances are: one guest supervisor and the trees beside it, whether on this machine or in a distro. And where
// machines come from: one for all instances, or one for each.

import type { ProgramsThere } from "../runner/program.ts";
import type { Guest } from "../supervisor/guest-keeper.ts";
import type { Workspaces } from "../workspace/workspaces.ts";

export interface Machine extends AsyncDisposable {
  readonly guest: Guest;
  readonly workspaces: Workspaces;
  /** Work may be root there, and leave what it likes: what judges it runs where it has not been. */
  readonly isWorkRoot: boolean;
  /** What programs there need of an environment to run at all. */
  readonly environment: NodeJS.ProcessEnv;
  readonly programs: ProgramsThere;
}

export interface MachineSource extends AsyncDisposable {
  /** What a former life of this host agent left there is ended, and seen gone, or can never act again. */
  endFormerLife(): Promise<void>;
  /** The machine of this instance, with its supervisor at work; rejects when there is none to be had. */
  open(number: number, signal: AbortSignal): Promise<Machine>;
  /** The instance is no more, and what it alone had goes with it. */
  close(number: number): Promise<void>;
}

/** One machine for all instances: it is there for as long as any of them is. */
export function sharedMachine(
  start: (signal: AbortSignal) => Promise<Machine>,
  endFormerLife: () => Promise<void>,
): MachineSource {
  const users = new Set<number>();
  let machine: Promise<Machine> | null = null;
  let closing = Promise.resolve();

  async function end(): Promise<void> {
    const ending = machine;
    machine = null;
    closing = (async () => {
      await (await ending?.catch(() => null))?.[Symbol.asyncDispose]();
    })();
    await closing;
  }

  return {
    endFormerLife,
    async open(number, signal) {
      users.add(number);
      machine ??= closing.then(() => start(signal));
      try {
        const opened = await machine;
        // Nobody new comes to it, so that it can be made anew once the others have given it up.
        if (opened.guest.hello() === null) throw new Error("the guest supervisor there does not answer");
        return opened;
      } catch (error) {
        users.delete(number);
        if (users.size === 0) await end();
        throw error;
      }
    },
    async close(number) {
      if (users.delete(number) && users.size === 0) await end();
    },
    [Symbol.asyncDispose]: end,
  };
}
