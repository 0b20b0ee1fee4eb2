// What `mesh doctor` makes of what it reads: Windows and WSL are judged here from readings such as they give.
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { judgeAgentsInside } from "../../services/cli/doctor/agents.ts";
import { type BusReading, judgeBus } from "../../services/cli/doctor/bus.ts";
import type { Finding } from "../../services/cli/doctor/finding.ts";
import { judgeGit } from "../../services/cli/doctor/git.ts";
import { judgeIsolation } from "../../services/cli/doctor/isolation.ts";
import { judgeMachine, judgeSettings, type MachineReading } from "../../services/cli/doctor/machine.ts";
import { judgePause, readPauseFolder } from "../../services/cli/doctor/pause.ts";
import { judgeSecrets } from "../../services/cli/doctor/secrets.ts";
import { judgeWindows, type WindowsReading } from "../../services/cli/doctor/windows.ts";
import { type GuestReading, judgeGrowth, judgeWsl, type WslReading } from "../../services/cli/doctor/wsl.ts";
import { judgeWslConfig } from "../../services/cli/doctor/wslconfig.ts";
import type { Isolation } from "../../services/host-agent/guest/inside.ts";
import type { ReadStore } from "../../services/host-agent/secrets/store.ts";
import { vmMemoryBytes, wslConfigText } from "../../services/host-agent/wsl/wslconfig.ts";
import { readEnvironment } from "../../shared/config/environment.ts";

const GIB = 2 ** 30;
/** `check: verdict` of all that is not ok. */
const amiss = (findings: Finding[]): string[] =>
  findings.filter(({ verdict }) => verdict !== "ok").map(({ check, verdict }) => `${check}: ${verdict}`);

describe("the machine", () => {
  const dataDir = {
    path: "/data",
    existing: { mode: 0o40700, owner: 0, writable: true },
    user: 0,
    onWindowsDisk: false,
  };
  const machine = (overrides: Partial<MachineReading> = {}): MachineReading => ({
    nodeVersion: "24.21.0",
    dataDir,
    disk: { totalBytes: 500 * GIB, freeBytes: 200 * GIB },
    memoryBytes: 32 * GIB,
    slots: 2,
    openFiles: 20_000,
    ...overrides,
  });

  it("that has all is well", () => {
    expect(amiss(judgeMachine(machine()))).toEqual([]);
    expect(amiss(judgeMachine(machine({ dataDir: { ...dataDir, existing: null } })))).toEqual([]);
  });

  it.each<[string, Partial<MachineReading>, string]>([
    ["an old Node", { nodeVersion: "20.20.2" }, "node: fail"],
    ["a full disk", { disk: { totalBytes: 500 * GIB, freeBytes: GIB / 4 } }, "disk: fail"],
    ["more slots than memory", { slots: 9 }, "memory: warn"],
    ["few open files", { openFiles: 1_024 }, "open files: warn"],
    [
      "data where attempts see their own",
      { dataDir: { ...dataDir, path: "/srv/mesh" } },
      "data folder: fail",
    ],
    ["data on a disk of Windows", { dataDir: { ...dataDir, onWindowsDisk: true } }, "data folder: fail"],
    [
      "data that cannot be written",
      { dataDir: { ...dataDir, existing: { mode: 0o40700, owner: 0, writable: false } } },
      "data folder: fail",
    ],
    ["data of somebody else", { dataDir: { ...dataDir, user: 7 } }, "data folder: warn"],
    [
      "data that others read",
      { dataDir: { ...dataDir, existing: { mode: 0o40755, owner: 0, writable: true } } },
      "data folder: warn",
    ],
  ])("with %s is told so", (_, overrides, verdict) => {
    expect(amiss(judgeMachine(machine(overrides)))).toEqual([verdict]);
  });
});

it("a folder in which the machine's owner can say no pause is told", async () => {
  expect(judgePause(null)).toEqual([]);
  expect(amiss(judgePause({ folder: "C:\\x", problem: null }))).toEqual([]);
  expect(amiss(judgePause({ folder: "C:\\x", problem: "EPERM" }))).toEqual(["pause: warn"]);
  const read = (folder: string) => readPauseFolder(readEnvironment({ MESH_HOST_PAUSE_DIR: folder }));
  expect(await read(import.meta.filename)).toMatchObject({ problem: "ENOTDIR" });
  expect(await read(`${import.meta.dirname}/not-there`)).toMatchObject({ problem: "ENOENT" });
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-doctor-"));
  expect(await read(folder)).toEqual({ folder, problem: null });
  rmdirSync(folder);
});

it("settings with secrets that others can read are told", () => {
  expect(amiss(judgeSettings("/etc/agent-mesh/host.env", 0o100600))).toEqual([]);
  expect(amiss(judgeSettings("/etc/agent-mesh/host.env", 0o100644))).toEqual(["settings: warn"]);
});

it("git is wanted with what is needed of it", () => {
  expect(amiss(judgeGit({ version: "2.39.5", largeFiles: true, longPaths: null }))).toEqual([]);
  expect(amiss(judgeGit({ version: "2.30.2", largeFiles: false, longPaths: false }))).toEqual([
    "git: fail",
    "git lfs: warn",
    "long paths: warn",
  ]);
  expect(amiss(judgeGit({ version: null, largeFiles: false, longPaths: null }))).toEqual(["git: fail"]);
});

describe("the bus", () => {
  const bus = (overrides: Partial<Extract<BusReading, { reached: true }>> = {}): BusReading => ({
    reached: true,
    address: "tls://bus.example.net:4222",
    hasSecret: true,
    certificateDays: 300,
    serverVersion: "2.15.2",
    broker: { jetStream: "on", provisioned: true, aheadMs: 40, roundTripMs: 3 },
    hosts: ["attic"],
    ...overrides,
  });
  const clock = (aheadMs: number) =>
    ({ jetStream: "on", provisioned: true, aheadMs, roundTripMs: 1 }) as const;

  it.each<[string, BusReading, string[]]>([
    ["all is well", bus(), []],
    ["on this machine no TLS is needed", bus({ address: "nats://127.0.0.1:4222" }), []],
    ["what crosses a network in the clear is told", bus({ address: "nats://10.0.0.7:4222" }), ["tls: warn"]],
    ["a certificate that ends soon is told", bus({ certificateDays: 3 }), ["tls: warn"]],
    ["a server without streams is no bus", bus({ broker: { jetStream: "off" } }), ["jetstream: fail"]],
    ["a server that a host may not ask is well", bus({ broker: { jetStream: "unknown" } }), []],
    ["a clock a little off is told", bus({ broker: clock(-5_000) }), ["clock: warn"]],
    ["a clock far off fails", bus({ broker: clock(3_600_000) }), ["clock: fail"]],
    ["nobody there who tracks tasks is told", bus({ hosts: null }), ["mesh: warn"]],
    [
      "none named is no failure: `mesh up` starts its own",
      { reached: false, address: null, why: "none" },
      ["bus: warn"],
    ],
    [
      "one that cannot be reached fails",
      { reached: false, address: "tls://x", why: "refused" },
      ["bus: fail"],
    ],
  ])("%s", (_, reading, verdicts) => {
    expect(amiss(judgeBus(reading))).toEqual(verdicts);
  });
});

it("agents in a distro are told, and whether they could log in", () => {
  const judged = (agents: string[], env: NodeJS.ProcessEnv = {}) =>
    amiss(judgeAgentsInside(agents, readEnvironment(env)));
  expect(judged([])).toEqual(["agents: warn"]);
  expect(judged(["claude", "codex"], { ANTHROPIC_AUTH_TOKEN: "t" })).toEqual(["codex: warn"]);
  expect(judged(["claude", "codex"], { ANTHROPIC_API_KEY: "k", OPENAI_API_KEY: "k" })).toEqual([]);
});

it("what keeps attempts apart is told, and a host for strangers without it fails", () => {
  const limits = { freezer: true, memory: true, processes: true, cpu: true };
  const networks = ["open", "allowlist", "none"] as const;
  const isolation = { isolation: "sandbox", wanted: true, takesStrangers: true, networks, limits } as const;
  expect(amiss(judgeIsolation(isolation))).toEqual([]);
  expect(amiss(judgeIsolation({ ...isolation, isolation: "namespaces" }))).toEqual(["sandbox: fail"]);
  const open = { ...isolation, wanted: false, takesStrangers: false, limits: { ...limits, memory: false } };
  expect(amiss(judgeIsolation(open))).toEqual(["sandbox: warn", "limits: warn"]);
  const shared = { ...isolation, networks: ["open"] } as const;
  expect(amiss(judgeIsolation(shared))).toEqual(["network: fail"]);
  expect(amiss(judgeIsolation({ ...shared, takesStrangers: false }))).toEqual(["network: warn"]);
  expect(amiss(judgeIsolation({ ...open, networks: [] }))).toContain("network: fail");
});

describe("WSL", () => {
  const version = { wsl: "2.7.11.0", kernel: "6.18.33.2-2", windows: "10.0.26100.1" };
  const golden = { name: "agent-mesh-golden", isDefault: false, state: "Running", wslVersion: 2 };
  const guest: GuestReading = {
    aheadMs: 30,
    pressure: true,
    interop: false,
    drives: false,
    disk: { usedBytes: 4 * GIB, freeBytes: 900 * GIB },
    bubblewrap: true,
    agents: ["claude"],
    controllers: ["cpuset", "cpu", "io", "memory", "pids"],
  };
  const wsl = (overrides: Partial<Exclude<WslReading, { failure: unknown }>> = {}): WslReading => ({
    program: "C:\\Program Files\\WSL\\wsl.exe",
    version,
    distros: [golden],
    withSystemd: [],
    guest,
    ...overrides,
  });
  const failure = (reason: "hung" | "no-vm" | "unknown" | "wrong-account", code: string | null = null) => ({
    failure: { reason, code, message: "words in any language" },
  });

  it.each<[string, WslReading, string[]]>([
    ["all is well", wsl(), []],
    ["a call that hangs fails", failure("hung"), ["wsl: fail"]],
    [
      "an account that WSL serves not fails",
      failure("wrong-account", "Wsl/WSL_E_LOCAL_SYSTEM_NOT_SUPPORTED"),
      ["wsl: fail"],
    ],
    ["the build that came with Windows fails", wsl({ version: failure("unknown") }), ["wsl version: fail"]],
    ["an old version fails", wsl({ version: { ...version, wsl: "2.5.7.0" } }), ["wsl version: fail"]],
    ["no distro of ours fails", wsl({ distros: [], guest: null }), ["distro: fail"]],
    ["one of WSL 1 fails", wsl({ distros: [{ ...golden, wslVersion: 1 }] }), ["distro: fail"]],
    ["two with systemd fight", wsl({ withSystemd: ["Ubuntu", "Debian"] }), ["systemd: warn"]],
    [
      "after 2.9.4 they do not",
      wsl({ withSystemd: ["a", "b"], version: { ...version, wsl: "2.10.1.0" } }),
      [],
    ],
    [
      "one that cannot start fails",
      wsl({ guest: failure("no-vm", "Wsl/Service/CreateInstance/CreateVm/HCS/HCS_E_SERVICE_NOT_AVAILABLE") }),
      ["inside: fail"],
    ],
    [
      "a clock that sleep has put behind is told",
      wsl({ guest: { ...guest, aheadMs: -20_000 } }),
      ["clock of WSL: warn"],
    ],
    [
      "interop and drives fail",
      wsl({ guest: { ...guest, interop: true, drives: true } }),
      ["interop: fail", "drives: fail"],
    ],
    ["limits that nothing holds are told", wsl({ guest: { ...guest, controllers: [""] } }), ["limits: warn"]],
    [
      "a full disk and no bubblewrap fail",
      wsl({ guest: { ...guest, disk: { usedBytes: GIB, freeBytes: GIB }, bubblewrap: false } }),
      ["disk of WSL: fail", "bubblewrap: fail"],
    ],
  ])("%s", (_, reading, verdicts) => {
    expect(amiss(judgeWsl(reading))).toEqual(verdicts);
  });

  it("tells what its disk would give back, if that is worth it", () => {
    const file = "C:\\x\\ext4.vhdx";
    const [grown] = judgeGrowth(file, 80 * GIB, 20 * GIB);
    expect(grown).toMatchObject({
      verdict: "warn",
      fix: expect.stringContaining(`file="${file}"`) as string,
    });
    expect(amiss(judgeGrowth(file, 20 * GIB, 15 * GIB))).toEqual([]);
    expect(amiss(judgeGrowth(file, 100 * GIB, 80 * GIB))).toEqual([]);
  });
});

describe(".wslconfig", () => {
  const config = (text: string | Buffer | null, memoryBytes = 32 * GIB, slots = 2) =>
    amiss(
      judgeWslConfig({ bytes: text === null ? null : Buffer.from(text), memoryBytes, slots, pressure: null }),
    );
  const utf16 = (text: string) => Buffer.from(text, "utf16le");
  const GOOD = "[wsl2]\r\nmemory=12GB\r\nswap=0\r\n[general]\r\ninstanceIdleTimeout=-1\r\n";

  it.each<[string, string | Buffer | null, string[]]>([
    ["none is well", null, []],
    ["an empty one is well", "", []],
    ["a good one is well", GOOD, []],
    [
      "UTF-16 with a mark works by luck",
      Buffer.concat([Buffer.from([0xff, 0xfe]), utf16(GOOD)]),
      [".wslconfig: warn"],
    ],
    ["UTF-16 without a mark is not read", utf16(GOOD), [".wslconfig: fail"]],
    ["what is no text is not read", Buffer.from([0x5b, 0xc3, 0x28]), [".wslconfig: fail"]],
    ["a misspelt key is passed over", "[wsl2]\nmemroy=12GB", [".wslconfig: warn"]],
    ["a key of another section is passed over", "[wsl2]\ninstanceIdleTimeout=1", [".wslconfig: warn"]],
    ["an unknown section is passed over", "[wsl]\n", [".wslconfig: warn"]],
    ["single backslashes lose the path", "[wsl2]\nswapFile=C:\\temp\\swap.vhdx", [".wslconfig: warn"]],
    ["doubled ones do not", "[wsl2]\nswapFile=C:\\\\temp\\\\swap.vhdx", []],
    ["too little for the slots is told", "[wsl2]\nmemory=6GB", ["memory of WSL: warn"]],
    ["all of the machine's is told", "[wsl2]\nmemory=64GB", ["memory of WSL: warn"]],
    ["no size is told", "[wsl2]\nmemory=lots", ["memory of WSL: warn"]],
    ["an idle time-out of a second is told", "[general]\ninstanceIdleTimeout=1000", ["idle time-outs: warn"]],
  ])("%s", (_, text, verdicts) => {
    expect(config(text)).toEqual(verdicts);
  });

  it("by default gives half of the memory, which must do for the slots", () => {
    expect(config(null, 16 * GIB, 3)).toEqual(["memory of WSL: warn"]);
    const [, memory] = judgeWslConfig({ bytes: null, memoryBytes: 16 * GIB, slots: 3, pressure: null });
    expect(memory).toMatchObject({ fix: expect.stringContaining("MESH_HOST_SLOTS=1") });
    const [, larger] = judgeWslConfig({ bytes: null, memoryBytes: 16 * GIB, slots: 2, pressure: null });
    expect(larger).toMatchObject({ fix: expect.stringContaining("memory=9GB") });
  });

  it("is to switch on what tells of pressure, or to be read anew", () => {
    const pressure = (text: string) => {
      const findings = judgeWslConfig({
        bytes: Buffer.from(text),
        memoryBytes: 32 * GIB,
        slots: 2,
        pressure: false,
      });
      return findings.find(({ check }) => check === "pressure");
    };
    expect(pressure("")).toMatchObject({ verdict: "warn", fix: expect.stringContaining("psi=1 into") });
    expect(pressure("[wsl2]\nkernelCommandLine=psi=1")).toMatchObject({
      fix: expect.stringContaining("shutdown"),
    });
  });
});

it("Windows' service accounts, its sessions, and disks that are compressed or on a full drive are told", () => {
  const disk = {
    distro: "agent-mesh-golden",
    file: "C:\\x\\ext4.vhdx",
    bytes: 8 * GIB,
    attributes: "Archive Directory",
    freeBytes: 90 * GIB,
  };
  const windows = (sid: string, session: number, overrides: Partial<typeof disk> = {}): WindowsReading => ({
    ...{ account: { name: "PC\\meshagent", sid }, session, longPaths: true },
    disks: [{ ...disk, ...overrides }],
  });
  const USER = "S-1-5-21-1-2-3-1001";
  expect(amiss(judgeWindows(windows(USER, 0)))).toEqual([]);
  expect(amiss(judgeWindows(windows("S-1-5-18", 0)))).toEqual(["account: fail"]);
  expect(amiss(judgeWindows(windows(USER, 2)))).toEqual(["account: warn"]);
  const own = "disk of agent-mesh-golden";
  expect(amiss(judgeWindows(windows(USER, 0, { attributes: "Archive, Compressed Directory" })))).toEqual([
    `${own}: fail`,
  ]);
  expect(amiss(judgeWindows(windows(USER, 0, { freeBytes: GIB })))).toEqual([`${own}: fail`]);
  expect(amiss(judgeWindows(windows(USER, 0, { freeBytes: 10 * GIB })))).toEqual([`${own}: warn`]);
});

it("WSL's machine has what its settings say, within the machine's own; what WSL passes over says nothing", () => {
  const bytes = (text: string | null) => vmMemoryBytes(text, 32 * GIB);
  expect(bytes(null)).toBe(16 * GIB);
  expect(bytes("[WSL2]\r\nMemory=12GB\r\n")).toBe(12 * GIB);
  expect(bytes("[wsl2]\nmemory=512MB")).toBe(GIB / 2);
  expect(bytes("[wsl2]\nmemory=64GB")).toBe(32 * GIB);
  expect(bytes("[wsl2]\nmemory=1MB")).toBe(GIB / 4);
  expect(bytes("[wsl2]\nmemory=lots")).toBe(16 * GIB);
  expect(bytes("memory=12GB")).toBe(16 * GIB);
  expect(wslConfigText(Buffer.from("[wsl2]", "utf16le")).text).toBeNull();
});

describe("secrets of tasks", () => {
  const store = (repositories: string[]): ReadStore => ({
    ok: true,
    store: { NPM_TOKEN: { value: "npm_0123456789", repositories } },
  });
  const granted = store(["github.com/a/b"]);

  it.each<[string, ReadStore, Isolation | null, string[]]>([
    ["of which there are none are well", { ok: true, store: {} }, "sandbox", []],
    ["in a sandbox are well", granted, "sandbox", []],
    ["beside instances in WSL2 are well", granted, null, []],
    ["without a sandbox are everybody's", granted, "namespaces", ["secrets: warn"]],
    ["granted to nobody are told", store([]), "sandbox", ["grants: warn"]],
    ["that no host agent would begin with fail", { ok: false, problem: "mode 644" }, null, ["secrets: fail"]],
  ])("%s", (_, read, isolation, verdicts) => {
    const findings = judgeSecrets(read, isolation);
    expect(amiss(findings)).toEqual(verdicts);
    expect(JSON.stringify(findings)).not.toContain("npm_0123456789");
  });
});
