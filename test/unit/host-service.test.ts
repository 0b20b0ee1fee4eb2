// What installing the host agent as a service comes to on each platform: files and commands, from hostile values too.
import { mkdtempDisposableSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseEnv } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { emptyingOf } from "../../services/cli/host/emptying.ts";
import { nodeEnvironment } from "../../services/cli/host/environment-file.ts";
import { managerOf } from "../../services/cli/host/managers.ts";
import {
  PlanError,
  type Platform,
  type Step,
  type Wanted,
  withoutSecrets,
} from "../../services/cli/host/plan.ts";
import { literal } from "../../services/cli/host/powershell.ts";
import { windowsArgument } from "../../services/cli/host/scheduled-task.ts";
import { planText } from "../../services/cli/host/show-plan.ts";
import { type WantedFlags, wantedOf } from "../../services/cli/host/wanted.ts";
import { xml } from "../../services/cli/host/xml.ts";
import { createProgress } from "../../services/cli/terminal/progress.ts";
import type { MeshClient } from "../../shared/client/mesh-client.ts";
import { STOP_DEADLINE_MS } from "../../shared/service/run.ts";
import { heartbeat } from "../support/heartbeats.ts";

const MACHINE = {
  home: "/Users/ann",
  uid: 501,
  programFiles: "C:\\Program Files",
  programData: "C:\\ProgramData",
};
const SECRETS = ["bus-secret", "key-secret", "password-secret"];

const wanted = (overrides: Partial<Wanted> = {}): Wanted => ({
  platform: "linux",
  hostId: "attic",
  program: { kind: "single-file", file: "/tmp/mesh" },
  account: null,
  password: "password-secret",
  environment: {
    NATS_URL: "tls://bus-secret@bus.example.net:4222",
    ANTHROPIC_API_KEY: "key-secret",
    NATS_CA_FILE: "/tmp/ca.pem",
  },
  winsw: null,
  image: null,
  machine: MACHINE,
  ...overrides,
});
const install = (overrides: Partial<Wanted> = {}): Step[] =>
  managerOf(overrides.platform ?? "linux").install(wanted(overrides));
const fileOf = (steps: Step[], end: string): string => {
  const step = steps.findLast((one) => one.do === "write" && one.path.endsWith(end));
  return step?.do === "write" ? step.text : "";
};
const WAYS: [string, Partial<Wanted>][] = [
  ["systemd", {}],
  ["launchd", { platform: "darwin" }],
  ["WinSW", { platform: "win32", winsw: "C:\\Downloads\\WinSW.exe" }],
  ["the task scheduler", { platform: "win32" }],
];

describe.each(WAYS)("a service by %s", (_, way) => {
  const steps = install(way);

  it("has no secret on a command line, nor in a file that others may read", () => {
    for (const step of steps) {
      const open =
        step.do === "run" ? step.argv.join(" ") : step.do === "write" && step.mode !== 0o600 ? step.text : "";
      for (const secret of SECRETS) expect(open).not.toContain(secret);
    }
    expect(fileOf(steps, "host.env")).toContain("key-secret");
  });

  it("makes every folder that it puts something into, but those that the system has", () => {
    const { dirname } = way.platform === "win32" ? path.win32 : path.posix;
    const made = new Set(["/etc/systemd/system"]);
    const missing = steps.flatMap((step) => {
      if (step.do === "folder") made.add(step.path);
      const into = step.do === "write" ? step.path : step.do === "copy" ? step.to : null;
      return into === null || made.has(dirname(into)) ? [] : [into];
    });
    expect(missing).toEqual([]);
  });

  it("shows a dry run no secret at all", () => {
    const shown = planText(managerOf(way.platform ?? "linux").install(withoutSecrets(wanted(way))));
    for (const secret of SECRETS) expect(shown).not.toContain(secret);
    expect(shown).toContain("bus.example.net");
  });

  it("is emptied before it is stopped when it was there before, and takes work again at last", () => {
    const upgrade = steps.filter(({ when }) => when !== "new");
    expect(upgrade.slice(0, 2).map((step) => [step.do, step.when])).toEqual([
      ["empty", "upgrade"],
      ["run", "upgrade"],
    ]);
    expect(upgrade.at(-1)).toMatchObject({ do: "fill", when: "upgrade" });
    expect(managerOf(way.platform ?? "linux").uninstall(MACHINE)[0]).toMatchObject({ do: "empty" });
  });

  it("runs the single file where it was copied to, or Node with the checkout's file where they are", () => {
    const text = (overrides: Partial<Wanted>) => planText(install({ ...way, ...overrides }));
    expect(text({})).toMatch(/copy \/tmp\/mesh to .*mesh(\.exe)? /);
    const checkout = text({ program: { kind: "checkout", node: "/usr/bin/node", main: "/srv/x/main.ts" } });
    expect(checkout).toContain("/usr/bin/node");
    expect(checkout).not.toContain("agent-mesh/mesh");
  });
});

describe("a service manager", () => {
  it.each([
    ["mesh-host.service", {}, /TimeoutStopSec=(\d+)/],
    [".plist", { platform: "darwin" }, /ExitTimeOut<\/key><integer>(\d+)/],
    ["AgentMeshHost.xml", { platform: "win32", winsw: "w.exe" }, /<stoptimeout>(\d+) sec/],
  ] as [string, Partial<Wanted>, RegExp][])(
    "by its %s waits longer than the agent's own deadline",
    (end, way, pattern) => {
      const seconds = Number(pattern.exec(fileOf(install(way), end))?.[1]);
      expect(seconds * 1_000).toBeGreaterThan(STOP_DEADLINE_MS);
    },
  );

  it("of Windows is given the distro's image for the service to register, since nobody else has its account", () => {
    const way = { platform: "win32", winsw: "w.exe", image: "C:\\Downloads\\golden.tar.gz" } as const;
    const steps = install(way);
    const place = "C:\\ProgramData\\agent-mesh\\image.tar.gz";
    expect(steps).toContainEqual(expect.objectContaining({ do: "copy", from: way.image, to: place }));
    const file = fileOf(steps, "AgentMeshHost.xml");
    expect(file).toContain(`<argument>--image</argument>\n  <argument>${place}</argument>`);
  });

  it("of Windows has a folder in which whoever is logged on may pause it, and nobody else's", () => {
    const steps = install({ platform: "win32" });
    const owner = "C:\\ProgramData\\agent-mesh\\owner";
    const grants = steps.flatMap((step) =>
      step.do === "run" && step.argv[0] === "icacls.exe" ? [step.argv] : [],
    );
    const open = grants.filter((argv) => argv.some((word) => word.startsWith("*S-1-5-4:")));
    expect(open.map(([, folder, ...words]) => [folder, words.at(-2)])).toEqual([
      ["C:\\ProgramData\\agent-mesh", "*S-1-5-4:(X)"],
      [owner, "*S-1-5-4:(OI)(CI)M"],
    ]);
    // Never what a folder that they may change has been made to lead to.
    expect(new Set(grants.map((argv) => argv.at(-1)))).toEqual(new Set(["/L"]));
    expect(fileOf(steps, "host.env")).toContain(owner);
    expect(managerOf("win32").pauseFolder(MACHINE)).toBe(owner);
  });

  it("of Windows gets the account's password only while it is told of the service", () => {
    const written = install({ platform: "win32", winsw: "w.exe" }).flatMap((step) =>
      step.do === "write" && step.path.endsWith("AgentMeshHost.xml") ? [step] : [],
    );
    expect(written.map(({ text }) => text.includes("password-secret"))).toEqual([true, false]);
    expect(written.map(({ when }) => when)).toEqual(["new", undefined]);
  });

  it.each([
    [
      "systemd, that it runs",
      "linux",
      "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=42\nNRestarts=1\nResult=success\n",
      { installed: true, running: true, pid: 42 },
    ],
    [
      "systemd, that there is none",
      "linux",
      "LoadState=not-found\nActiveState=inactive\nMainPID=0\n",
      { installed: false, running: false, pid: null },
    ],
    [
      "launchd, that it runs",
      "darwin",
      "gui/501/x = {\n\tstate = running\n\tpid = 99\n\tlast exit code = 0\n}",
      { installed: true, running: true, pid: 99 },
    ],
    ["launchd, that there is none", "darwin", "", { installed: false, running: false, pid: null }],
    [
      "Windows, that it has stopped",
      "win32",
      '{"State":"Stopped","ProcessId":0,"ExitCode":1067,"StartName":".\\\\meshagent"}\r\n',
      { installed: true, kind: "service", running: false, pid: null },
    ],
    [
      "Windows, that the task runs",
      "win32",
      '{"State":"Running","ExitCode":267009,"StartName":"meshagent"}\r\n',
      { installed: true, kind: "scheduled task", running: true, pid: null },
    ],
    ["Windows, that there is none", "win32", "\r\n", { installed: false, running: false, pid: null }],
  ] as [string, Platform, string, object][])("is understood: %s", (_, platform, answer, state) => {
    expect(managerOf(platform).read(answer)).toMatchObject(state);
  });

  it("of another platform is not known", () => {
    expect(() => managerOf("freebsd")).toThrow("no service manager of freebsd");
  });
});

describe("hostile values", () => {
  it("reach systemd as they are: blanks, quotes, % and $", () => {
    const program = { kind: "checkout", node: "/opt/a b%h/$x", main: '/opt/a b%h/$x"y\\z' } as const;
    const unit = fileOf(install({ program }), ".service");
    expect(unit).toContain('ExecStart="/opt/a b%%h/$x" "/opt/a b%%h/$$x\\"y\\\\z" host run\n');
  });

  it("reach XML as they are, and nothing in it ends an element", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const escaped = xml(text);
        expect(escaped).not.toMatch(/[<>"']|&(?!(amp|lt|gt|quot|apos);)/);
        const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
        expect(escaped.replaceAll(/&(\w+);/g, (_, name: string) => entities[name] ?? "")).toBe(text);
      }),
    );
  });

  it("reach a Windows program as they are", () => {
    const words = fc.array(fc.string({ unit: fc.constantFrom("a", " ", "\\", '"', "\t", "%") }), {
      maxLength: 4,
    });
    fc.assert(
      fc.property(words, (argv) => {
        expect(takenApart(argv.map(windowsArgument).join(" "))).toEqual(argv);
      }),
    );
  });

  it("stay within PowerShell's quotes, curly ones too", () => {
    expect(literal("it's ‘so’")).toBe("'it''s ‘‘so’’'");
  });

  it("reach Node from the settings' file as they are, or are refused", () => {
    const value = fc.string({
      unit: fc.constantFrom("a", "'", '"', "`", "\\", "n", "#", "$", "=", " ", "%"),
    });
    fc.assert(
      fc.property(value, (text) => {
        try {
          expect(parseEnv(nodeEnvironment({ NAME: text })).NAME).toBe(text);
        } catch (error) {
          expect(error).toBeInstanceOf(PlanError);
          expect(["'", "`"].every((quote) => text.includes(quote))).toBe(true);
        }
      }),
    );
  });

  it.each<[string, Partial<Wanted>]>([
    ["a setting of two lines", { environment: { MESH_HOST_LABELS: "a=b\nNATS_URL=evil" } }],
    ["an account with a line of its own", { account: "x\nExecStartPre=/bin/sh" }],
    ["a path of two lines", { program: { kind: "checkout", node: "/a\nUser=root", main: "/b" } }],
    ["a program that systemd does not take", { program: { kind: "checkout", node: '/a"b', main: "/b" } }],
    ["an account on Windows that is none", { platform: "win32", account: 'x" /grant *S-1-1-0:F' }],
    ["a password that WinSW would change", { platform: "win32", winsw: "w.exe", password: "a%PATH%b" }],
  ])("are refused where nothing can hold them: %s", (_, overrides) => {
    expect(() => install(overrides)).toThrow(PlanError);
  });
});

describe("what is wanted", () => {
  it("is what the environment says that concerns a host, with full paths", async () => {
    const env = {
      NATS_URL: "nats://127.0.0.1",
      NATS_CA_FILE: "package.json",
      MESH_HOST_ID: "attic",
      MESH_HOST_SLOTS: "4",
      MESH_GITHUB_WEBHOOK_SECRET: "of the gateway",
      MESH_DATA_DIR: "/of/mesh/up",
      HOME: "/root",
    };
    expect((await wantedOf("linux", {}, env)).environment).toEqual({
      NATS_URL: "nats://127.0.0.1",
      NATS_CA_FILE: path.resolve("package.json"),
      MESH_HOST_ID: "attic",
      MESH_HOST_SLOTS: "4",
    });
  });

  it("has instances in WSL2 on Windows, unless that was said otherwise", async () => {
    const instances = async (env: Record<string, string>) =>
      (await wantedOf("win32", {}, env)).environment.MESH_HOST_INSTANCES;
    expect(await instances({})).toBe("wsl2");
    expect(await instances({ MESH_HOST_INSTANCES: "local" })).toBe("local");
  });

  it("is the agents of its operator too: their configuration, and the secrets that it names", async () => {
    using folder = mkdtempDisposableSync(path.join(tmpdir(), "mesh-wanted-"));
    const config = path.join(folder.path, "mesh.toml");
    writeFileSync(config, '[runners.gemini]\nacp = ["gemini"]\nsecrets = ["GEMINI_PASS", "NOT_SET"]\n');
    const env = {
      MESH_CONFIG: path.relative(".", config),
      MESH_HOST_ID: "attic",
      GEMINI_PASS: "hush",
      OTHER: "x",
    };
    const found = await wantedOf("linux", {}, env);
    expect(found.environment).toEqual({ MESH_CONFIG: config, MESH_HOST_ID: "attic", GEMINI_PASS: "hush" });
    expect(withoutSecrets(found).environment).toMatchObject({ MESH_CONFIG: config, GEMINI_PASS: "***" });
  });

  it.each<[Platform, WantedFlags, string]>([
    ["win32", { account: "ann" }, "--password-file"],
    ["linux", { winsw: "w.exe" }, "for Windows"],
    ["win32", { image: "golden.vhdx" }, ".tar.gz"],
    ["darwin", { account: "ann" }, "--account"],
  ])("is refused on %s where the flags %j make no sense", async (platform, flags, words) => {
    await expect(wantedOf(platform, flags, {})).rejects.toThrow(words);
  });
});

describe("emptying a host", () => {
  it.each([
    ["takes work again", null, ["drain", "uncordon"]],
    ["is cordoned again, as its operator had it", "cordoned", ["drain", "cordon"]],
    ["stays drained, as its operator had it", "draining", []],
  ] as const)("one that was emptied %s", async (_, wish, said) => {
    const asked: string[] = [];
    let drained = wish === "draining";
    const view = () => ({
      ...heartbeat({ hostId: "h1" }),
      online: true,
      draining: drained,
      wish: drained ? { kind: "draining" } : wish === null ? null : { kind: wish },
      attempts: [],
    });
    const answer = (verb: string) => async () => {
      asked.push(verb);
      drained ||= verb === "drain";
      return { ok: true, value: {} };
    };
    const mesh = {
      hosts: async () => ({ ok: true, value: { data: [view()] } }),
      drain: answer("drain"),
      cordon: answer("cordon"),
      uncordon: answer("uncordon"),
    } as unknown as MeshClient;
    const emptying = emptyingOf((work) => work(mesh), {
      hostId: "h1",
      deadlineMs: 1_000,
      progress: createProgress(true),
      signal: new AbortController().signal,
    });
    await emptying.empty();
    expect(emptying.drainedHere()).toBe(wish !== "draining");
    await emptying.fill();
    expect(asked).toEqual(said);
    expect(emptying.drainedHere()).toBe(false);
  });
});

/** As the C runtime of a Windows program does it. */
function takenApart(line: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quoted = false;
  for (let at = 0; at < line.length; at++) {
    const [slashes = ""] = /^\\*/.exec(line.slice(at)) ?? [];
    const next = line[at + slashes.length];
    if (slashes !== "" || next === '"') {
      word = (word ?? "") + (next === '"' ? "\\".repeat(slashes.length / 2) : slashes);
      at += slashes.length - 1;
      if (next !== '"') continue;
      at++;
      if (slashes.length % 2 === 1) word += '"';
      else quoted = !quoted;
    } else if (!quoted && (next === " " || next === "\t")) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + next;
  }
  return word === null ? words : [...words, word];
}
