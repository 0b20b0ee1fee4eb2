// What happens to the machines of instances, for whoever wants to hear of it: of every machine, once, however many
// instances share it.
import type { Guest } from "../supervisor/guest-keeper.ts";
import type { Machine } from "./machine.ts";

export function machineEvents() {
  const known = new WeakSet<Machine>();
  const opened: ((machine: Machine) => unknown)[] = [];
  const frozen: ((guest: Guest, attemptKey: string) => void)[] = [];
  const died: ((guest: Guest, reason: string) => void)[] = [];

  return {
    meet(machine: Machine): void {
      if (known.has(machine)) return;
      known.add(machine);
      const { guest } = machine;
      guest.onFrozen((attemptKey) => {
        for (const listener of frozen) listener(guest, attemptKey);
      });
      guest.onDied((reason) => {
        for (const listener of died) listener(guest, reason);
      });
      for (const listener of opened) listener(machine);
    },
    onOpened: (listener: (machine: Machine) => unknown): void => void opened.push(listener),
    onFrozen: (listener: (guest: Guest, attemptKey: string) => void): void => void frozen.push(listener),
    onDied: (listener: (guest: Guest, reason: string) => void): void => void died.push(listener),
  };
}
