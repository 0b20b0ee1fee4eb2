// What wsl.exe lists, by columns and by the order of lines: every word of it may be in the language of the machine.
import { linesOf } from "./output-text.ts";

export interface Distro {
  name: string;
  isDefault: boolean;
  /** As printed: `Running`, `Stopped`, `Installing`, `Uninstalling`, `Converting` or `Exporting`. */
  state: string;
  /** 1 or 2. */
  wslVersion: number;
}

/** Of `-l -v`: a mark for the default, name, state, version; the first line is a heading. */
export function distrosIn(text: string): Distro[] {
  return linesOf(text)
    .slice(1)
    .flatMap((line) => {
      const [, mark, name = "", state = "", version] = /^([* ]) (\S+)\s+(\S.*?)\s+(\d+)$/.exec(line) ?? [];
      return mark === undefined
        ? []
        : [{ name, isDefault: mark === "*", state, wslVersion: Number(version) }];
    });
}

export interface WslVersion {
  wsl: string;
  kernel: string;
  windows: string;
}

/** Of `--version`: WSL first, its kernel second, Windows last; null when that is not what it is. */
export function versionIn(text: string): WslVersion | null {
  const values = linesOf(text).map((line) => /\d+(?:\.\d+)+(?:-\d+)?$/.exec(line)?.[0]);
  const [wsl, kernel] = values;
  const windows = values.at(-1);
  return values.length >= 3 && wsl && kernel && windows ? { wsl, kernel, windows } : null;
}
