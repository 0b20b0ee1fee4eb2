// The processes of this machine as /proc tells them: whose child each is, when it started, what marks it.
import { readdirSync, readFileSync } from "node:fs";

/** Every living process and its parent; empty where there is no /proc. */
function parents(): Map<number, number> {
  const found = new Map<number, number>();
  for (const name of listed()) {
    const stat = statOf(name);
    if (stat !== null && stat.state !== "Z" && stat.state !== "X") found.set(name, stat.parent);
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
  return listed().filter((pid) => {
    const stat = statOf(pid);
    return stat !== null && stat.state !== "Z" && environmentOf(pid).includes(entry);
  });
}

/** Tells a process from a later one of the same number; null when it is gone. */
export function startOf(pid: number): string | null {
  return statOf(pid)?.start ?? null;
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

const listed = (): number[] => {
  try {
    return readdirSync("/proc")
      .map(Number)
      .filter((pid) => Number.isInteger(pid) && pid > 0);
  } catch {
    return [];
  }
};

/** proc(5): the fields follow the name, which stands in parentheses and may hold anything. */
function statOf(pid: number): { state: string; parent: number; start: string } | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", parent: Number(fields[1]), start: fields[19] ?? "" };
  } catch {
    return null;
  }
}

function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    return [];
  }
}
