// The client of wsl.exe: what starts, stops and changes distros, short commands inside them, and the argv of a
// long-lived one. What changes distros is done one at a time, as the service does it; each call has its time. It must
// never stop or remove a distro that is not ours.
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { type InsideCommand, insideArguments, isPlainPath } from "./command-line.ts";
import { hasOurPrefix } from "./distro-layout.ts";
import { type Distro, versionIn, type WslVersion } from "./listing.ts";
import { distroOwnership, nameObjection, theirs } from "./ownership.ts";
import { type InsideEnd, type InsideRun, type WslTimes, wslCommands } from "./wsl-commands.ts";
import { failed, type WslFailure, type WslOutcome } from "./wsl-error.ts";

export interface Wsl {
  readonly program: string;
  version(): Promise<WslOutcome<WslVersion>>;
  list(): Promise<WslOutcome<Distro[]>>;
  /** Makes a distro from a tarball, its disk in `folder`, which is made. A failure leaves nothing behind. */
  importTar(image: { distro: string; folder: string; file: string }): Promise<WslOutcome<null>>;
  /** Makes a distro of a disk (`.vhdx`) where it lies. */
  importInPlace(image: { distro: string; disk: string }): Promise<WslOutcome<null>>;
  /** Writes a distro of ours to a file: a disk if it ends in `.vhdx`, else a tarball. A running one is stopped first. */
  exportTo(image: { distro: string; file: string }): Promise<WslOutcome<null>>;
  start(distro: string): Promise<WslOutcome<null>>;
  /** Ends everything in a distro of ours. */
  terminate(distro: string): Promise<WslOutcome<null>>;
  /** Removes a distro of ours with its disk, whose file Windows may leave if something holds it. */
  unregister(distro: string): Promise<WslOutcome<null>>;
  /** Stops all distros and their machine, if all are ours: what alone helps when the service is broken. */
  shutdown(): Promise<WslOutcome<null>>;
  /** A short command. It must not end with 67 or 87, which cannot be told from failures of WSL's own. */
  run(command: InsideRun): Promise<WslOutcome<InsideEnd>>;
  /** Argv of a command whose stdio is the caller's, to be started with `wslEnvironment()`. */
  commandInside(command: InsideCommand): string[];
}

/** ms. Listing waits for a distro that starts, and that one for its machine: 60 s and 30 s by Windows' own limits. */
const TIMES: WslTimes = {
  version: 20_000,
  list: 120_000,
  copy: 1_800_000,
  start: 150_000,
  stop: 60_000,
  run: 120_000,
};
const FOLDER_RETRIES = 10;
/** By the end of a file's name; a plain tarball otherwise. */
const FORMATS: Record<string, string> = { ".vhdx": "vhd", ".gz": "tar.gz", ".xz": "tar.xz" };

/** `program` by its full path (`findWsl`). */
export function createWsl(program: string, times: WslTimes = TIMES): Wsl {
  const commands = wslCommands(program, times);
  const ownership = distroOwnership(commands, times.start);
  let listed: Distro[] = [];
  let previous: Promise<unknown> = Promise.resolve();

  function oneAtATime<Value>(act: () => Promise<WslOutcome<Value>>): Promise<WslOutcome<Value>> {
    const next = previous.then(act);
    previous = next.catch(() => {});
    return next;
  }

  async function act(args: string[], timeoutMs: number): Promise<WslOutcome<null>> {
    const done = await commands.command(args, timeoutMs);
    return done.ok ? { ok: true, value: null } : done;
  }

  const unlessTheirs = (distro: string, change: () => Promise<WslOutcome<null>>): Promise<WslOutcome<null>> =>
    oneAtATime(async () => {
      const failure = await ownership.objection(distro);
      return failure ? { ok: false, failure } : change();
    });

  async function list(): Promise<WslOutcome<Distro[]>> {
    const there = await commands.list();
    if (there.ok) listed = there.value;
    return there;
  }

  /** Null if nobody has the name. */
  async function taken(distro: string, paths: string[]): Promise<WslFailure | null> {
    const objection = nameObjection(distro) ?? paths.map(pathObjection).find((found) => found !== null);
    if (objection) return objection;
    const there = await list();
    if (!there.ok) return there.failure;
    const isTaken = there.value.some(({ name }) => name.toLowerCase() === distro.toLowerCase());
    return isTaken ? failed("name-taken", `there is a distro ${distro} already`).failure : null;
  }

  /** Nobody had the name, so what has it after a failure is our own leftover. */
  async function register(distro: string, args: string[], timeoutMs: number): Promise<WslOutcome<null>> {
    const done = await act(args, timeoutMs);
    if (done.ok) ownership.made(distro);
    else if (done.failure.reason !== "name-taken") {
      const removed = await act(["--unregister", distro], times.stop);
      // Nothing in it may tell that any more; whoever wants it removed later is not to be told that it is somebody else's.
      if (!removed.ok && removed.failure.reason !== "no-such-distro") ownership.made(distro);
    }
    return done;
  }

  return {
    program,
    list: () => oneAtATime(list),
    async version() {
      const printed = await commands.command(["--version"], times.version);
      if (!printed.ok) return printed;
      const version = versionIn(printed.value);
      if (version) return { ok: true, value: version };
      return failed("unknown", `not what \`wsl --version\` prints: ${printed.value.slice(0, 200)}`);
    },
    importTar: ({ distro, folder, file }) =>
      oneAtATime(async () => {
        const failure = await taken(distro, [folder, file]);
        if (failure) return { ok: false, failure };
        if (existsSync(folder)) return failed("folder-taken", `${folder} is there already: remove it first`);
        // It makes one folder, not those above.
        await mkdir(path.dirname(folder), { recursive: true });
        const args = ["--import", distro, folder, file, "--version", "2"];
        const done = await register(distro, args, times.copy);
        if (!done.ok) await rm(folder, { recursive: true, force: true, maxRetries: FOLDER_RETRIES });
        return done;
      }),
    importInPlace: ({ distro, disk }) =>
      oneAtATime(async () => {
        const failure = await taken(distro, [disk]);
        if (failure) return { ok: false, failure };
        return register(distro, ["--import-in-place", distro, disk], times.start);
      }),
    exportTo: ({ distro, file }) =>
      unlessTheirs(distro, async () => {
        const failure = pathObjection(file);
        if (failure) return { ok: false, failure };
        const format = FORMATS[path.extname(file)];
        return act(["--export", distro, file, ...(format ? ["--format", format] : [])], times.copy);
      }),
    start: (distro) => oneAtATime(() => commands.start(distro)),
    terminate: (distro) => unlessTheirs(distro, () => act(["--terminate", distro], times.stop)),
    unregister: (distro) =>
      unlessTheirs(distro, async () => {
        const done = await act(["--unregister", distro], times.stop);
        if (done.ok) ownership.removed(distro);
        return done;
      }),
    shutdown: () =>
      oneAtATime(async () => {
        const there = await list();
        if (!there.ok && listed.length === 0) return there;
        const other = listed.find(({ name }) => !hasOurPrefix(name));
        if (!other) return act(["--shutdown"], times.stop);
        return { ok: false, failure: theirs(`${other.name} is not ours, and would be stopped too`) };
      }),
    run: commands.run,
    commandInside: (inside) => [program, ...insideArguments(inside)],
  };
}

const pathObjection = (file: string): WslFailure | null =>
  isPlainPath(file)
    ? null
    : failed("bad-argument", `${file} holds a blank or a quote, which wsl.exe does not take`).failure;
