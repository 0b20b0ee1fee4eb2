// A guest of a test's own as the one place for all instances, with as many of them as are asked for.

import type { HeldInstance, Instances } from "../../services/host-agent/instances/instances.ts";
import type { Machine } from "../../services/host-agent/instances/machine.ts";
import { programsHere } from "../../services/host-agent/runner/program.ts";
import type { Guest } from "../../services/host-agent/supervisor/guest-keeper.ts";

/** Its attempts have no trees. */
const machineOf = (guest: Guest): Machine => ({
  guest,
  isWorkRoot: false,
  environment: process.env,
  programs: programsHere(""),
  workspaces: {
    prepare: noTrees,
    applyPatch: noTrees,
    remove: noTrees,
    isDiskFull: noTrees,
    readings: noTrees,
  },
  [Symbol.asyncDispose]: () => guest[Symbol.asyncDispose](),
});

/** `next`: what is had in exchange for one of them. */
export function instancesOn(
  guest: Guest,
  next: () => Promise<Guest> = noOther,
): Pick<Instances, "take" | "problem" | "onFrozen" | "onDied"> {
  const instanceOn = (one: Guest): HeldInstance => ({
    machine: machineOf(one),
    giveBack() {},
    exchange: async () => instanceOn(await next()),
  });
  return {
    take() {
      const stretch = guest.stretch();
      return stretch === null ? null : { instance: instanceOn(guest), stretch };
    },
    problem: () => null,
    onFrozen: (listener) => guest.onFrozen((attemptKey) => listener(guest, attemptKey)),
    onDied: (listener) => guest.onDied((reason) => listener(guest, reason)),
  };
}

const noTrees = (): never => {
  throw new Error("an attempt of this test asks for a tree");
};

const noOther = (): never => {
  throw new Error("an attempt of this test wants another instance");
};
