// What the policies are measured against: a greedy decider that knows what every machine truly has and every task truly
// uses, and needs no time. In the order of arrival, each task begins where it runs fastest, then where most is left.
import type { SimulatedHost } from "./simulated-host.ts";
import type { Decider, World } from "./world.ts";

export function omniscient(world: World): Decider {
  let queue: number[] = [];
  const { usedBytes, usedCpus } = world.workload;

  const best = (task: number): SimulatedHost | null => {
    const bytes = usedBytes[task] as number;
    const cpus = usedCpus[task] as number;
    let chosen: SimulatedHost | null = null;
    let chosenSpeed = 0;
    let chosenLeft = 0;
    for (const host of world.hosts) {
      if (host.running.size >= host.machine.slots) continue;
      const leftBytes = host.machine.memoryBytes - host.usedInTheEndBytes() - bytes;
      if (leftBytes < 0) continue;
      const speed = host.speed(cpus);
      const left = leftBytes / host.machine.memoryBytes;
      if (chosen !== null && (speed < chosenSpeed || (speed === chosenSpeed && left <= chosenLeft))) continue;
      chosen = host;
      chosenSpeed = speed;
      chosenLeft = left;
    }
    return chosen;
  };

  return {
    arrived: (task) => void queue.push(task),
    ended: () => {},
    waiting: () => queue.length,
    pass() {
      // What fits nowhere stays so for whoever uses as much, until something ends.
      let tooManyBytes = Number.POSITIVE_INFINITY;
      queue = queue.filter((task) => {
        const bytes = usedBytes[task] as number;
        if (bytes >= tooManyBytes) return true;
        const host = best(task);
        if (host === null) tooManyBytes = bytes;
        else world.begin(task, host, { memoryBytes: bytes, cpus: usedCpus[task] as number });
        return host === null;
      });
    },
  };
}
