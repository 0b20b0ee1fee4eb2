// The distros of one Windows user, as its registry holds them: they outlive the service, and every instance of them.
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { userFolder } from "./service-line.ts";

export interface Registered {
  id: string;
  name: string;
  /** Folder of its disk; no two distros share one. */
  folder: string;
  diskName: string;
  defaultUid: number;
  /** What keeps everybody else off it; null at rest. */
  exclusive: "Installing" | "Uninstalling" | "Exporting" | null;
}

export class Registry {
  distros: Registered[] = [];
  defaultId: string | null = null;
  readonly #file: string;

  constructor(stateDir: string, user: string) {
    const folder = userFolder(stateDir, user);
    mkdirSync(folder, { recursive: true });
    this.#file = path.join(folder, "registry.json");
    try {
      Object.assign(this, JSON.parse(readFileSync(this.#file, "utf8")));
      // What was under way when the service ended is not any more.
      this.distros = this.distros.filter(({ exclusive }) => exclusive !== "Installing");
      for (const distro of this.distros) distro.exclusive = null;
    } catch {
      // There are none yet.
    }
  }

  find(name: string): Registered | undefined {
    const id = name.replace(/^\{|\}$/g, "").toLowerCase();
    return this.distros.find(
      (distro) => distro.name.toLowerCase() === name.toLowerCase() || distro.id === id,
    );
  }

  /** The code of what speaks against it; null when it has been added. */
  add(name: string, folder: string, diskName: string, exclusive: Registered["exclusive"]): string | null {
    if (!/^[a-zA-Z0-9._-]{1,256}$/.test(name) || name.toLowerCase() === "legacy")
      return "Wsl/Service/RegisterDistro/E_INVALIDARG";
    if (this.find(name)) return "Wsl/Service/RegisterDistro/ERROR_ALREADY_EXISTS";
    if (this.distros.some((distro) => distro.folder === folder))
      return "Wsl/Service/RegisterDistro/ERROR_FILE_EXISTS";
    const id = randomUUID();
    this.distros.push({ id, name, folder, diskName, defaultUid: 0, exclusive });
    this.defaultId ??= id;
    this.save();
    return null;
  }

  remove(id: string): void {
    this.distros = this.distros.filter((distro) => distro.id !== id);
    if (this.defaultId === id) this.defaultId = this.inOrder()[0]?.id ?? null;
    this.save();
  }

  /** The default first, the others by their ids. */
  inOrder(): Registered[] {
    const rank = ({ id }: Registered) => (id === this.defaultId ? "" : id);
    return this.distros.toSorted((one, other) => (rank(one) < rank(other) ? -1 : 1));
  }

  save(): void {
    writeFileSync(`${this.#file}.new`, JSON.stringify({ distros: this.distros, defaultId: this.defaultId }));
    renameSync(`${this.#file}.new`, this.#file);
  }
}

export const diskOf = ({ folder, diskName }: Registered): string => path.join(folder, diskName);
