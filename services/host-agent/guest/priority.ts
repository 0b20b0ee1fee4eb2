// The supervisor's place before everything it runs: a busy tree must not keep it from freezing that tree in time.
// What it starts must never inherit that place.
import { constants, getPriority, setPriority } from "node:os";

export interface Priority {
  /** Begins a child at the priority that this process had before it was raised. */
  atOrdinary<Child>(begin: () => Child): Child;
}

/** Raises this process as far as it is permitted. */
export function raisePriority(): Priority {
  const ordinary = getPriority();
  try {
    setPriority(Math.min(ordinary, constants.priority.PRIORITY_HIGH));
  } catch {
    // Not permitted: as it was.
  }
  const raised = getPriority();
  if (raised === ordinary) return { atOrdinary: (begin) => begin() };
  return {
    atOrdinary(begin) {
      setPriority(ordinary);
      try {
        return begin();
      } finally {
        setPriority(raised);
      }
    },
  };
}
