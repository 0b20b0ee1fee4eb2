// What the fake service does for wsl.exe's own commands: it lists distros, makes and removes them, and says by a code
// why it does not.
import { existsSync, readFileSync } from "node:fs";
import { copyFile, rm } from "node:fs/promises";
import path from "node:path";
import { checkDisk, makeFolder, newDisk, pack, unpack } from "./disks.ts";
import type { Faults } from "./faults.ts";
import { latency, type Machine } from "./machine.ts";
import { diskOf, type Registered, type Registry } from "./registry.ts";
import type { Answer, ListedDistro, Request } from "./service-line.ts";

type Locked = <Value>(act: () => Promise<Value>) => Promise<Value>;
type Change = Exclude<Request, { op: "run" | "inject" | "shutdown" }>;

const NOT_FOUND = { error: "Wsl/Service/WSL_E_DISTRO_NOT_FOUND" };
const BUSY = { error: "Wsl/Service/E_ILLEGAL_STATE_CHANGE" };
const DONE: Answer = { done: true };

export function changes(registry: Registry, machine: Machine, locked: Locked, faults: () => Faults) {
  /** What is being installed is there for nobody but `--unregister`. */
  const find = (name: string): Registered | undefined => {
    const distro = registry.find(name);
    return distro?.exclusive === "Installing" ? undefined : distro;
  };

  function list(all: boolean, running: boolean): ListedDistro[] {
    return registry.inOrder().flatMap((distro) => {
      const state = distro.exclusive ?? (machine.instances.has(distro.id) ? "Running" : "Stopped");
      if ((!all && distro.exclusive !== null) || (running && state !== "Running")) return [];
      return [{ name: distro.name, isDefault: distro.id === registry.defaultId, state }];
    });
  }

  /** Nobody else may touch the distro meanwhile. */
  async function exclusively(
    distro: Registered,
    state: NonNullable<Registered["exclusive"]>,
    act: () => Promise<Answer>,
  ): Promise<Answer> {
    if (distro.exclusive !== null) return BUSY;
    distro.exclusive = state;
    registry.save();
    try {
      return await act();
    } finally {
      distro.exclusive = null;
      registry.save();
    }
  }

  async function importDistro({
    name,
    folder,
    file,
    kind,
  }: Extract<Change, { op: "import" }>): Promise<Answer> {
    const isNew = !existsSync(folder);
    const objection = registry.add(name, folder, "ext4.vhdx", "Installing");
    if (objection) return { error: objection };
    const distro = registry.find(name) as Registered;
    const fill = async (): Promise<string | null> => {
      if (file !== "-" && !existsSync(file)) return "ERROR_FILE_NOT_FOUND";
      if (!makeFolder(folder)) return "ERROR_PATH_NOT_FOUND";
      if (existsSync(diskOf(distro))) return "ERROR_FILE_EXISTS";
      await latency("copyPerGib", 0.2);
      if (faults().diskFull) return "0x80070070";
      if (kind === "vhd") {
        await copyFile(file, diskOf(distro));
        return checkDisk(diskOf(distro));
      }
      await newDisk(diskOf(distro));
      return unpack(diskOf(distro), file);
    };
    const failure = await fill();
    // It may have been unregistered meanwhile.
    if (failure === null && registry.distros.includes(distro)) {
      distro.exclusive = null;
      registry.save();
      return DONE;
    }
    if (failure !== "ERROR_FILE_EXISTS") await rm(diskOf(distro), { force: true });
    if (isNew) await rm(folder, { recursive: true, force: true });
    registry.remove(distro.id);
    return { error: `Wsl/Service/RegisterDistro/${failure ?? "E_ABORT"}` };
  }

  async function importInPlace(name: string, disk: string): Promise<Answer> {
    if (path.extname(disk) !== ".vhdx" || !existsSync(disk))
      return { error: "Wsl/Service/RegisterDistro/ERROR_FILE_NOT_FOUND" };
    await latency("distro");
    const failure = await checkDisk(disk);
    if (failure) return { error: `Wsl/Service/RegisterDistro/${failure}` };
    const objection = registry.add(name, path.dirname(disk), path.basename(disk), null);
    return objection ? { error: objection } : DONE;
  }

  async function unregister(distro: Registered): Promise<Answer> {
    if (distro.exclusive !== null && distro.exclusive !== "Installing") return BUSY;
    distro.exclusive = "Uninstalling";
    await machine.stop(distro.id);
    registry.remove(distro.id);
    if (!faults().unregisterLeavesFile) await rm(diskOf(distro), { force: true });
    return DONE;
  }

  async function exportDistro(distro: Registered, file: string, kind: string): Promise<Answer> {
    if (kind === "vhd" && path.extname(file) !== path.extname(distro.diskName))
      return { error: "Wsl/E_INVALIDARG" };
    return exclusively(distro, "Exporting", async () => {
      await machine.stop(distro.id);
      await latency("copyPerGib", 0.2);
      return (await pack(diskOf(distro), file, kind)) ? DONE : { error: "Wsl/Service/E_FAIL" };
    });
  }

  return async (request: Change): Promise<Answer> => {
    switch (request.op) {
      case "list":
        return locked(async () => ({ distros: list(request.all, request.running) }));
      case "look":
        return locked(async () => {
          if (request.name === null) {
            const first = registry.distros.find(({ id }) => id === registry.defaultId);
            return first ? { name: first.name } : { error: "Wsl/WSL_E_DEFAULT_DISTRO_NOT_FOUND" };
          }
          const distro = find(request.name);
          return distro ? { name: distro.name } : NOT_FOUND;
        });
      case "terminate":
        return locked(async () => {
          const distro = find(request.name);
          if (!distro) return NOT_FOUND;
          if (distro.exclusive !== null) return BUSY;
          await latency("terminate", takesLong(distro) ? 4 : 1);
          await machine.stop(distro.id);
          return DONE;
        });
      case "unregister":
        return locked(async () => {
          const distro = registry.find(request.name);
          return distro ? unregister(distro) : NOT_FOUND;
        });
      case "importInPlace":
        return locked(() => importInPlace(request.name, request.disk));
      case "import":
        return importDistro(request);
      case "export": {
        const distro = find(request.name);
        return distro ? exportDistro(distro, request.file, request.kind) : NOT_FOUND;
      }
      case "setDefault": {
        const distro = find(request.name);
        if (!distro) return NOT_FOUND;
        registry.defaultId = distro.id;
        registry.save();
        return DONE;
      }
      case "setDefaultUser": {
        const distro = find(request.name);
        if (!distro) return NOT_FOUND;
        return { error: "Wsl/Service/E_NOTIMPL" };
      }
    }
  };

  /** With systemd a distro takes its time to power off. */
  function takesLong({ id }: Registered): boolean {
    const pid = machine.instances.get(id)?.pid;
    if (pid === undefined) return false;
    try {
      return /^\s*systemd\s*=\s*true/m.test(readFileSync(`/proc/${pid}/root/etc/wsl.conf`, "utf8"));
    } catch {
      return false;
    }
  }
}
