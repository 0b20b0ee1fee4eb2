// The processes of this machine as /proc tells them: whose child each is, how it was started, what marks it.
import { readdirSync, readFileSync } from "node:fs";

/** A tree that starts processes while it is being stopped or ended is looked through so often. */
const ROUNDS = 50;

/** Every living process and its parent; empty where there is no /proc. */
function parents(): Map<number, number> {
  const found = new Map<number, number>();
  for (const name of listed()) {
    const stat = statOf(name);
    if (stat !== null) found.set(name, stat.parent);
  }
  return found;
}

/** The process and everything below it. In a PID namespace nothing leaves: orphans become children of its init. */
export function treeOf(root: number): number[] {
  const living = parents();
  const children = Map.groupBy(living, ([, parent]) => parent);
  const tree: number[] = [];
  const todo = living.has(root) ? [root] : [];
  for (let pid = todo.pop(); pid !== undefined; pid = todo.pop()) {
    tree.push(pid);
    for (const [child] of children.get(pid) ?? []) todo.push(child);
  }
  return tree;
}

/** Living processes with this entry in their environment. */
export function markedWith(entry: string): number[] {
  return listed().filter((pid) => statOf(pid) !== null && entriesOf(pid, "environ").includes(entry));
}

/** Living processes whose command line has these arguments, one after the other. */
export function withArguments(...wanted: string[]): number[] {
  return listed().filter((pid) => {
    if (statOf(pid) === null) return false;
    const given = entriesOf(pid, "cmdline");
    return given.some((_, index) => wanted.every((argument, offset) => given[index + offset] === argument));
  });
}

export function signalAll(pids: Iterable<number>, signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // Gone already.
    }
  }
}

/** Signals each once, and looks again for what they have started meanwhile, as long as there is any. */
export function signalEach(look: () => number[], signal: NodeJS.Signals): void {
  const signalled = new Set<number>();
  for (let round = 0; round < ROUNDS; round++) {
    const fresh = look().filter((pid) => !signalled.has(pid));
    if (fresh.length === 0) return;
    signalAll(fresh, signal);
    for (const pid of fresh) signalled.add(pid);
  }
}

const listed = (): number[] => {
  try {
    return readdirSync("/proc")
      .map(Number)
      .filter((pid) => Number.isInteger(pid) && pid > 0);
  } catch {
    return [];
  }
};

/**
 * Null for what is gone, if only its zombie is left: that does nothing any more, and waits for its parent for as
 * long as it likes. proc(5): the fields follow the name, which stands in parentheses and may hold anything.
 */
function statOf(pid: number): { parent: number } | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return null;
    return { parent: Number(fields[1]) };
  } catch {
    return null;
  }
}

function entriesOf(pid: number, file: "cmdline" | "environ"): string[] {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8").split("\0");
  } catch {
    return [];
  }
}
