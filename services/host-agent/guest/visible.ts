// What of a machine's file system a sandbox shows, to be read only: the system's programs and settings, the folders on
// PATH with what belongs to them, and what the machine's owner names. Nobody's home, no data.
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  statSync,
} from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

const SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"];
const SYSTEM_BESIDES = ["/nix/store", "/gnu/store", "/run/current-system", "/sys/devices/system/cpu"];
/** A program in `bin` may need what lies there beside `bin`; a shim, the versions that it chooses from. */
const BESIDE_BIN = ["lib", "lib64", "libexec", "versions", "version"];

export interface Hidden {
  /** The data folder of the host agent. */
  dataDir: string;
  /** Paths that are shown all the same, by the owner's will. */
  tools: string[];
}

/** Arguments for bubblewrap; they come in the order in which they are carried out. */
export function visibleArguments(searchPath: string, { dataDir, tools }: Hidden): string[] {
  const system = [...SYSTEM, ...SYSTEM_BESIDES].filter((folder) => existsSync(folder));
  const personal = [dataDir, homedir()].map(real).filter((folder) => folder !== "/");
  const shown = new Set<string>();
  const isShown = (file: string) =>
    [...shown].some((folder) => isBelow(file, folder)) ||
    (system.some((folder) => isBelow(file, real(folder))) &&
      !personal.some((folder) => isBelow(file, folder)));
  const show = (file: string) => {
    // What holds somebody's home would show all of it.
    if (!existsSync(file) || personal.some((folder) => isBelow(folder, real(file))) || isShown(real(file)))
      return;
    shown.add(file);
  };
  for (const folder of searchPath.split(":").filter((entry) => path.isAbsolute(entry)))
    for (const file of belongings(path.normalize(folder).replace(/(.)\/$/, "$1"))) show(file);
  for (const tool of tools) for (const file of [tool, real(tool)]) show(file);
  // A system may keep its resolver's settings elsewhere, and a link to them in /etc.
  show(real("/etc/resolv.conf"));
  const covers = personal.filter((folder) => system.some((above) => isBelow(folder, real(above))));
  const inSystem = (file: string) =>
    system.some((folder) => isBelow(file, folder)) && !covers.some((folder) => isBelow(file, folder));
  // Otherwise what lies above a folder that is its owner's alone would be that owner's alone too.
  const above = new Set([...shown].flatMap(ancestors).filter((folder) => !inSystem(folder)));
  return [
    ...system.flatMap((folder) =>
      isLink(folder) ? ["--symlink", readlinkSync(folder), folder] : ["--ro-bind", folder, folder],
    ),
    ...covers.flatMap((folder) => ["--perms", "0755", "--tmpfs", folder]),
    ...[...above].flatMap((folder) => ["--perms", "0755", "--dir", folder]),
    ...[...shown].flatMap((file) => ["--ro-bind", file, file]),
    ...covers.flatMap((folder) => ["--remount-ro", folder]),
  ];
}

/** From the top, without the root. */
function ancestors(file: string): string[] {
  const parent = path.dirname(file);
  return parent === "/" ? [] : [...ancestors(parent), parent];
}

/** A folder on PATH, what its programs need beside it, and programs elsewhere to which it has links. */
function belongings(folder: string): string[] {
  // Those of whatever project this process was started from are nobody's tools.
  if (folder.endsWith("/node_modules/.bin") || !existsSync(folder)) return [];
  const parent = path.dirname(folder);
  const beside = parent === homedir() ? [] : BESIDE_BIN.map((name) => path.join(parent, name));
  const linked = namesIn(folder)
    .map((name) => path.join(folder, name))
    .filter((file) => isLink(file) && isProgram(file))
    .map(real);
  return [folder, ...beside, ...linked];
}

const isBelow = (file: string, folder: string): boolean =>
  file === folder || file.startsWith(folder.endsWith("/") ? folder : `${folder}/`);

const isLink = (file: string): boolean => orElse(() => lstatSync(file).isSymbolicLink(), false);
const real = (file: string): string => orElse(() => realpathSync(file), file);
const namesIn = (folder: string): string[] => orElse(() => readdirSync(folder), []);
const isProgram = (file: string): boolean =>
  orElse(() => {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  }, false);

/** What is not there, or not for us to read, is not to be shown either. */
function orElse<Value>(look: () => Value, otherwise: Value): Value {
  try {
    return look();
  } catch {
    return otherwise;
  }
}
