// What every service manager's plan has in common: the program, the bus's authority and the settings in their places,
// and a service that is emptied before it is touched. Pure.
import path from "node:path";
import type { Step, Wanted } from "./plan.ts";

export interface Places {
  program: string;
  environmentFile: string;
  caFile: string;
}

export function placed(
  { program, environment: { NATS_CA_FILE: caFile, ...environment }, platform }: Wanted,
  places: Places,
  write: (variables: Record<string, string>) => string,
): Step[] {
  const { dirname } = platform === "win32" ? path.win32 : path.posix;
  const folders = [places.environmentFile, ...(program.kind === "single-file" ? [places.program] : [])];
  return [
    ...folders.map((file) => folder(dirname(file))),
    ...(program.kind === "single-file"
      ? [{ why: "the program", do: "copy", from: program.file, to: places.program, mode: 0o755 } as const]
      : []),
    ...(caFile === undefined
      ? []
      : [{ why: "the bus's authority", do: "copy", from: caFile, to: places.caFile, mode: 0o644 } as const]),
    {
      why: "settings, secrets among them",
      do: "write",
      path: places.environmentFile,
      text: write(caFile === undefined ? environment : { ...environment, NATS_CA_FILE: places.caFile }),
      mode: 0o600,
    },
  ];
}

/** The program with its first arguments, as the service starts it. */
export const programOf = ({ program }: Wanted, { program: copied }: Places): [string, ...string[]] =>
  program.kind === "single-file" ? [copied] : [program.node, program.main];

export const emptied = (when?: Step["when"]): Step => ({
  why: "nothing new is placed here, and what runs is waited for",
  ...(when === undefined ? {} : { when }),
  do: "empty",
});

export const run = (
  why: string,
  argv: string[],
  more: { when?: "new" | "upgrade"; input?: string } = {},
): Step => ({
  why,
  ...more,
  do: "run",
  argv,
});

export const folder = (path: string): Step => ({ why: "", do: "folder", path });
export const removed = (file: string): Step => ({ why: "", do: "remove", path: file });
export const TAKES_WORK_AGAIN: Step = { why: "it takes work again", when: "upgrade", do: "fill" };
/** A host of this id that comes later finds nothing in its way. */
export const FORGOTTEN: Step = { why: "nothing stands against its id any more", do: "fill" };
