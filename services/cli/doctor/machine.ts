// Checks of the machine itself: its Node, the data folder and its disk, memory for what may run at once, open files.
import { existsSync, readFileSync, statSync } from "node:fs";
import { access, constants, rm, statfs, writeFile } from "node:fs/promises";
import { totalmem } from "node:os";
import path from "node:path";
import { REQUEST_DEFAULTS } from "../../../shared/contracts/deploy-request.ts";
import { diskFloorBytes } from "../../../shared/contracts/disk-floor.ts";
import { formatSize, GIB } from "../terminal/quantities.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

export interface MachineReading {
  nodeVersion: string;
  dataDir: {
    path: string;
    /** Null: it is not there yet. */
    existing: { mode: number; owner: number; writable: boolean } | null;
    /** 0 on Windows, where access is not by owner. */
    user: number;
    /** Of a Windows disk that Linux sees. */
    onWindowsDisk: boolean;
  };
  disk: { totalBytes: number; freeBytes: number };
  /** Null where attempts do not have this machine's, but WSL's. */
  memoryBytes: number | null;
  slots: number;
  /** Null where there is no such limit. */
  openFiles: number | null;
}

const NODE_LOWEST = 24;
const OPEN_FILES = 4_096;
/** Left for the machine and the host agent. */
const OWN_BYTES = GIB;
/** A file system of Windows, as Linux sees it: 9p, or drvfs over it. */
const NINE_P = 0x01021997;

export function judgeMachine(reading: MachineReading): Finding[] {
  const { nodeVersion, disk, memoryBytes, slots, openFiles } = reading;
  const major = Number(nodeVersion.split(".")[0]);
  const floor = diskFloorBytes(disk.totalBytes);
  const left = `${formatSize(disk.freeBytes)} of ${formatSize(disk.totalBytes)} free`;
  return [
    major >= NODE_LOWEST
      ? ok("node", nodeVersion)
      : fail("node", nodeVersion, `install Node ${NODE_LOWEST} or newer, or run \`npm ci\` in the checkout`),
    judgeDataDir(reading.dataDir),
    disk.freeBytes < floor
      ? fail("disk", left, `free some: below ${formatSize(floor)} this host takes no work`)
      : disk.freeBytes < 3 * floor
        ? warn("disk", left, `free some: below ${formatSize(floor)} this host takes no work`)
        : ok("disk", left),
    ...(memoryBytes === null ? [] : [judgeMemory(memoryBytes, slots)]),
    openFiles === null || openFiles >= OPEN_FILES
      ? ok("open files", openFiles === null ? "no limit" : `at most ${openFiles}`)
      : warn(
          "open files",
          `at most ${openFiles}`,
          `raise the limit to ${OPEN_FILES} (ulimit -n, LimitNOFILE=)`,
        ),
  ];
}

function judgeMemory(memoryBytes: number, slots: number): Finding {
  const limit = REQUEST_DEFAULTS.memoryLimitBytes;
  const fits = Math.max(1, Math.floor((memoryBytes - OWN_BYTES) / limit));
  const found = `${formatSize(memoryBytes)} for ${slots} attempts of up to ${formatSize(limit)}`;
  if (memoryBytes >= slots * limit + OWN_BYTES) return ok("memory", found);
  return warn("memory", found, `set MESH_HOST_SLOTS to ${fits}: so many fit at their limits`);
}

function judgeDataDir({ path: folder, existing, user, onWindowsDisk }: MachineReading["dataDir"]): Finding {
  const check = "data folder";
  const elsewhere = "set MESH_DATA_DIR to another folder";
  if (folder.startsWith("/srv/"))
    return fail(check, `${folder} lies where attempts see their own`, elsewhere);
  if (onWindowsDisk)
    return fail(
      check,
      `${folder} is on a Windows disk, which is slow and has no Linux permissions`,
      elsewhere,
    );
  if (existing === null) return ok(check, `${folder} is not there yet`);
  if (!existing.writable)
    return fail(check, `${folder} cannot be written`, `run as its owner, or ${elsewhere}`);
  if (existing.owner !== user)
    return warn(
      check,
      `${folder} is user ${existing.owner}'s; this is user ${user}`,
      `run as its owner, or ${elsewhere}`,
    );
  if ((existing.mode & 0o077) !== 0)
    return warn(check, `${folder} can be read by others`, `chmod 700 ${folder}`);
  return ok(check, folder);
}

/** `mode` of the file with a service's settings, where a file has one. */
export const judgeSettings = (file: string, mode: number): Finding[] => [
  (mode & 0o077) === 0
    ? ok("settings", file)
    : warn("settings", `${file}, with its secrets, can be read by others`, `chmod 600 ${file}`),
];

export async function readMachine(dataDir: string, slots: number): Promise<MachineReading> {
  const folder = path.resolve(dataDir);
  const there = nearest(folder);
  const { blocks, bsize, bavail, type } = await statfs(there);
  const { mode, uid } = statSync(there);
  const writable = await isWritable(there);
  return {
    nodeVersion: process.versions.node,
    dataDir: {
      path: folder,
      existing:
        there === folder ? { mode: process.platform === "win32" ? 0o700 : mode, owner: uid, writable } : null,
      user: process.getuid?.() ?? 0,
      onWindowsDisk: process.platform === "linux" && type === NINE_P,
    },
    disk: { totalBytes: blocks * bsize, freeBytes: bavail * bsize },
    memoryBytes: process.platform === "win32" ? null : totalmem(),
    slots,
    openFiles: openFilesLimit(),
  };
}

/** On Windows `access` knows nothing of who may do what: it is tried. */
async function isWritable(folder: string): Promise<boolean> {
  const probe = path.join(folder, `doctor.${process.pid}`);
  const tried =
    process.platform === "win32"
      ? writeFile(probe, "").then(() => rm(probe))
      : access(folder, constants.W_OK);
  return tried.then(
    () => true,
    () => false,
  );
}

/** It, or what of the way there is. */
const nearest = (folder: string): string =>
  existsSync(folder) || folder === path.dirname(folder) ? folder : nearest(path.dirname(folder));

function openFilesLimit(): number | null {
  if (process.platform !== "linux") return null;
  // Node raises the soft limit to the hard one by itself.
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return hard === undefined || hard === "unlimited" ? null : Number(hard);
}
