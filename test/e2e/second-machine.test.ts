// docs/second-machine.md, by its very commands: a bus with TLS and a token, the services, and a host that joins from
// a folder of its own. Only the name and the port of the bus are others, and everything is on loopback.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import type { HostView } from "../../shared/contracts/api.ts";
import type { TaskView } from "../../shared/contracts/task.ts";
import { makeCertificate, opensslIsThere } from "../support/certificate.ts";
import { makeRepository, type Repository } from "../support/repository.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
/** What of a checkout the commands name. */
const CHECKOUT = ["nats.conf", "node_modules", "package.json", "services", "shared"];

/** A machine: a checkout, and a data folder in it. */
class Machine implements AsyncDisposable {
  readonly folder: string;
  readonly #running: { name: string; child: ChildProcess; said: () => string }[] = [];
  constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<Machine> {
    const folder = await mkdtemp(path.join(tmpdir(), "mesh-machine-"));
    for (const name of CHECKOUT) await symlink(path.join(ROOT, name), path.join(folder, name));
    return new Machine(folder);
  }

  /** Runs a script to its end; what it printed on standard output. */
  async run(script: string): Promise<string> {
    const { child, output, said } = this.#spawn(script);
    const [code] = (await once(child, "close")) as [number | null];
    if (code !== 0) throw new Error(`exit ${code} of ${script}\n${said()}`);
    return output();
  }

  /** Starts a block's last lines, each a process of its own, with the environment that its first lines export. */
  start(block: string): void {
    const lines = block.trim().split("\n");
    const setting = lines.filter((line) => line.startsWith("export "));
    for (const command of lines.filter((line) => !line.startsWith("export ")))
      this.#running.push({ name: command, ...this.#spawn([...setting, `exec ${command}`].join("\n")) });
  }

  /** Throws with its last words when something has ended that should run. */
  assertAlive(): void {
    for (const { name, child, said } of this.#running)
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${name} ended: ${said()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child } of this.#running.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGTERM");
      await once(child, "exit");
    }
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  #spawn(script: string): { child: ChildProcess; output: () => string; said: () => string } {
    const child = spawn("sh", ["-euc", script], {
      cwd: this.folder,
      env: {
        PATH: `${path.join(ROOT, "node_modules/.bin")}${path.delimiter}${process.env.PATH}`,
        HOME: this.folder,
        MESH_DATA_DIR: path.join(this.folder, "data"),
        MESH_HTTP_PORT: "0",
        MESH_ALLOW_FILE_CLONES: "1",
        NO_COLOR: "1",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
    return { child, output: () => output, said: () => said };
  }
}

const blocksOf = (text: string): string[] =>
  [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = ""]) => block);

describe.skipIf(!opensslIsThere)("a second machine, by its document", () => {
  let bus: Machine;
  let attic: Machine;
  let repository: Repository;
  let credentials = "";
  let showHosts = "";

  beforeAll(async () => {
    [bus, attic] = await Promise.all([Machine.create(), Machine.create()]);
    repository = makeRepository();
    const document = await readFile(path.join(ROOT, "docs/second-machine.md"), "utf8");
    const [once = "", startBus = "", services = "", host = "", hosts = ""] = blocksOf(
      document.replaceAll("bus.example.net", "localhost"),
    );
    await bus.run(once);
    const loopback = "-a 127.0.0.1 -p -1 -m -1 --ports_file_dir .";
    bus.start(
      startBus
        .replace("/var/lib/mesh", "store")
        .replace("nats-server -c nats.conf", `${inject("natsServerProgram")} -c nats.conf ${loopback}`),
    );
    const port = await portIn(bus);
    bus.start(services.replace(":4222", `:${port}`));
    // What a person copies: never the key.
    await mkdir(path.join(attic.folder, "bus"));
    for (const name of ["token", "ca.pem"])
      await copyFile(path.join(bus.folder, "bus", name), path.join(attic.folder, "bus", name));
    const joined = host.replace(":4222", `:${port}`);
    attic.start(joined);
    credentials = joined.split("\n")[0] ?? "";
    showHosts = hosts.trim();
  });
  afterAll(async () => {
    repository[Symbol.dispose]();
    await attic[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
  });

  it("shows the host that has joined", async () => {
    const shown = async () => {
      bus.assertAlive();
      attic.assertAlive();
      // Until the tracker has started, nobody answers.
      const hosts = await attic.run(`${credentials}\n${showHosts} --json`).catch(() => '{"data":[]}');
      return (JSON.parse(hosts) as { data: HostView[] }).data;
    };
    await expect
      .poll(shown, { timeout: 60_000, interval: 200 })
      .toMatchObject([{ hostId: "attic", online: true, labels: { os: "linux" }, slots: { total: 4 } }]);
  });

  it("runs a task on it, submitted from either machine", async () => {
    for (const machine of [bus, attic]) {
      const { url, branch, headSha } = repository;
      const task = await machine.run(
        `${credentials}\nnpx mesh deploy --repo ${url} --pr-branch ${branch} --sha ${headSha} --wait --json -- cat feature.txt`,
      );
      expect(JSON.parse(task) as TaskView).toMatchObject({ state: "succeeded", hostId: "attic" });
    }
  });

  it("keeps the log with the bus and the caches with the host, the token from other users", async () => {
    expect(await readdir(path.join(bus.folder, "store"))).toEqual(["jetstream"]);
    expect(await readdir(path.join(attic.folder, "data"))).toContain("cache");
    expect((await stat(path.join(bus.folder, "bus"))).mode & 0o077).toBe(0);
  });

  it.each<[string, (credentials: string) => string, RegExp]>([
    ["the token", (given) => given.replace("$(cat bus/token)", "wrong"), /does not let us in/],
    [
      "its authority",
      (given) => given.replace("tls://", "nats://").replace(/NATS_CA_FILE=\S+/, ""),
      /not trusted here \(\w+\): set NATS_CA_FILE/,
    ],
    [
      "the right authority",
      (given) => given.replace("bus/ca.pem", makeCertificate(bus.folder, "DNS:localhost").certFile),
      /not trusted here \(\w+\): set NATS_CA_FILE/,
    ],
    ["its name", (given) => given.replace("localhost", "127.0.0.1"), /is for another name: .*127\.0\.0\.1/],
  ])("refuses at once who comes without %s, service and client alike", async (_, spoil, words) => {
    const wrong = spoil(credentials);
    const service = bus.run(`${wrong}\nnode services/scheduler/main.ts`);
    await expect(service).rejects.toThrow(/^exit 2 /);
    await expect(service).rejects.toThrow(words);
    const client = bus.run(`${wrong}\nnpx mesh hosts`);
    await expect(client).rejects.toThrow(/^exit 1 /);
    await expect(client).rejects.toThrow(words);
  });
});

async function portIn(machine: Machine): Promise<number> {
  return vi.waitFor(
    async () => {
      machine.assertAlive();
      const file = (await readdir(machine.folder)).find((name) => name.endsWith(".ports"));
      const { nats } = JSON.parse(await readFile(path.join(machine.folder, file ?? ""), "utf8")) as {
        nats: string[];
      };
      return Number(new URL(nats[0] ?? "").port);
    },
    { timeout: 30_000, interval: 50 },
  );
}
