// The plan of a service in the hands of the programs that it is for, and its steps carried out.
import { execFileSync } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { execa } from "execa";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Carrier, carryOut } from "../../services/cli/host/carry-out.ts";
import { systemdEnvironment } from "../../services/cli/host/environment-file.ts";
import { launchd } from "../../services/cli/host/launchd.ts";
import type { Step, Wanted } from "../../services/cli/host/plan.ts";
import { systemd } from "../../services/cli/host/systemd.ts";
import { windows } from "../../services/cli/host/windows.ts";
import { Failure } from "../../services/cli/outcome.ts";
import { runMesh } from "../support/mesh-program.ts";

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-service-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const ANALYZE = "systemd-analyze";
const { failed: noSystemd } = await execa(ANALYZE, ["--version"], { reject: false });

describe("systemd", () => {
  it.skipIf(noSystemd)(
    "finds nothing wrong with the unit, though the program's path is a hostile one",
    async () => {
      const folder = await temporaryFolder();
      const node = path.join(folder, "a b%h$x");
      await symlink(process.execPath, node);
      const program = { kind: "checkout", node, main: "/$HOME %n.ts" } as const;
      const steps = systemd.install({
        ...{
          platform: "linux",
          hostId: "attic",
          program,
          account: "root",
          password: "",
          winsw: null,
          image: null,
        },
        environment: { NATS_URL: "nats://127.0.0.1" },
        machine: { home: "", uid: 0, programFiles: "", programData: "" },
      });
      const unit = steps.find((step) => step.do === "write" && step.path.endsWith(".service"));
      const file = path.join(folder, "mesh-host.service");
      await writeFile(file, unit?.do === "write" ? unit.text : "");
      const verified = await execa(ANALYZE, ["verify", "--man=no", file], {
        reject: false,
        all: true,
      });
      expect(verified).toMatchObject({ exitCode: 0, all: "" });
      await writeFile(file, "[Service]\nExecStart=/no/such/program\n");
      const refused = await execa(ANALYZE, ["verify", "--man=no", file], { reject: false });
      expect(refused.exitCode).not.toBe(0);
    },
  );

  it("reads settings as a shell would, which gives back every value as it was", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "'", '"', "`", "\\", "$", "#", "(", " ", "%", "!") });
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 20 }), (values) => {
        const names = values.map((_, index) => `V${index}`);
        const file = systemdEnvironment(
          Object.fromEntries(values.map((value, index) => [`V${index}`, value])),
        );
        const print = names.map((name) => `printf '%s\\n' "$${name}"`).join("\n");
        expect(execFileSync("sh", ["-euc", file + print], { encoding: "utf8" })).toBe(
          `${values.join("\n")}\n`,
        );
      }),
      { numRuns: 20 },
    );
  });
});

describe("carrying out a plan", () => {
  const carrier = (overrides: Partial<Carrier> = {}): Carrier => ({
    upgrade: false,
    empty: async () => {},
    fill: async () => {},
    say: () => {},
    ...overrides,
  });

  it("writes files whole and for whom they are, over a program that runs too, and does only what is meant", async () => {
    const folder = await temporaryFolder();
    const at = (name: string) => path.join(folder, "below", name);
    const done: string[] = [];
    const steps: Step[] = [
      { why: "", when: "upgrade", do: "empty" },
      { why: "", do: "folder", path: path.join(folder, "below") },
      { why: "", do: "write", path: at("host.env"), text: "secret", mode: 0o600 },
      { why: "", do: "copy", from: process.execPath, to: at("program"), mode: 0o755 },
      {
        why: "",
        when: "new",
        do: "run",
        argv: ["sh", "-c", 'cat > "$1"', "sh", at("said")],
        input: "by its input",
      },
      { why: "", do: "remove", path: at("not-there") },
      { why: "told", when: "upgrade", do: "fill" },
    ];
    await carryOut(steps, carrier());
    expect((await stat(at("host.env"))).mode & 0o777).toBe(0o600);
    expect(await readFile(at("said"), "utf8")).toBe("by its input");
    const running = execa(at("program"), ["-e", "setInterval(() => {}, 1000)"], { reject: false });
    const noted = (word: string) => async () => void done.push(word);
    await carryOut(
      steps,
      carrier({
        upgrade: true,
        empty: noted("empty"),
        fill: noted("fill"),
        say: (words) => done.push(words),
      }),
    );
    running.kill("SIGKILL");
    await running;
    expect(done).toEqual(["empty", "told", "fill"]);
    expect((await readdir(path.join(folder, "below"))).toSorted()).toEqual(["host.env", "program", "said"]);
  });

  it("stops at the first step that fails, and says which and why but not what it was given", async () => {
    const folder = await temporaryFolder();
    const after = path.join(folder, "after");
    const fails = (step: Step) =>
      carryOut([step, { why: "", do: "folder", path: after }], carrier()).then(
        () => "nothing",
        (error: unknown) => (error instanceof Failure ? error.message : error),
      );
    const command = {
      why: "",
      do: "run",
      argv: ["sh", "-c", "echo no such account >&2; exit 3"],
      input: "secret",
    } satisfies Step;
    expect(await fails(command)).toMatch(/^sh -c .* exited 3: no such account$/);
    expect(await fails({ why: "", do: "run", argv: ["no-such-manager"] })).toContain(
      "no-such-manager cannot be run",
    );
    const file = path.join(folder, "missing", "x");
    expect(await fails({ why: "", do: "write", path: file, text: "secret", mode: 0o600 })).toMatch(
      /^write .*ENOENT/,
    );
    await chmod(folder, 0o700);
    expect(await readdir(folder)).toEqual([]);
  });
});

const { failed: noPython } = await execa("python3", ["--version"], { reject: false });

/** As Python's own parsers read it: all texts of an XML document by the names of their elements, or a property list. */
async function parsed(format: "xml" | "plist", text: string): Promise<Record<string, unknown>> {
  const script =
    format === "plist"
      ? "import sys, plistlib, json; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))"
      : `import sys, json, xml.etree.ElementTree as tree
texts = {}
for one in tree.fromstring(sys.stdin.buffer.read()).iter():
    texts.setdefault(one.tag.split("}")[-1], []).append(one.text)
print(json.dumps(texts))`;
  const { stdout } = await execa("python3", ["-c", script], { input: text });
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe.skipIf(noPython)("what a service manager reads", () => {
  const HOSTILE = `a "b" 'c' <d> & é 灾 ]]> --x %h`;
  const wanted: Wanted = {
    platform: "win32",
    hostId: "attic",
    program: { kind: "checkout", node: `C:\\${HOSTILE}\\node.exe`, main: `C:\\${HOSTILE}\\main.ts` },
    account: null,
    password: `p <&"'> 灾`,
    winsw: "C:\\WinSW.exe",
    image: null,
    environment: { NATS_URL: "nats://127.0.0.1" },
    machine: { home: "/Users/Ann & <Bo>", uid: 501, programFiles: "C:\\P & F", programData: "C:\\D <1>" },
  };
  const written = (steps: Step[], end: string): string[] =>
    steps.flatMap((step) => (step.do === "write" && step.path.endsWith(end) ? [step.text] : []));

  it("is XML for WinSW, with every value as it was", async () => {
    const [withPassword = "", without = ""] = written(windows.install(wanted), "AgentMeshHost.xml");
    const read = await parsed("xml", withPassword);
    const { program } = wanted;
    expect(read).toMatchObject({
      executable: [program.kind === "checkout" ? program.node : ""],
      password: [wanted.password],
      workingdirectory: ["C:\\D <1>\\agent-mesh\\state"],
    });
    expect((read.argument as string[])[0]).toBe(program.kind === "checkout" ? program.main : "");
    expect(Object.keys(await parsed("xml", without))).not.toContain("password");
  });

  it("is XML for the task scheduler, which starts the program with its own quotes", async () => {
    const [file = ""] = written(windows.install({ ...wanted, winsw: null }), "task.xml");
    const read = await parsed("xml", file);
    expect(read).toMatchObject({ UserId: ["meshagent"], ExecutionTimeLimit: ["PT0S"] });
    expect(String(read.Command)).toContain(HOSTILE);
  });

  it("is a property list for launchd, with every word of the command line", async () => {
    const way: Wanted = {
      ...wanted,
      platform: "darwin",
      winsw: null,
      program: { kind: "checkout", node: `/${HOSTILE}/node`, main: "/main.ts" },
    };
    const [file = ""] = written(launchd.install(way), ".plist");
    expect(await parsed("plist", file)).toMatchObject({
      Label: "net.agent-mesh.host",
      ProgramArguments: [
        `/${HOSTILE}/node`,
        "/main.ts",
        "host",
        "run",
        "--environment",
        expect.any(String),
        "--log-file",
        expect.any(String),
      ],
      KeepAlive: true,
    });
  });
});

it("what a service manager reads was parsed", ({ skip }) => {
  skip(noPython, "NOT TESTED: this machine has no python3, whose parsers read it");
  expect(noPython).toBe(false);
});

describe("`mesh host install`", () => {
  it("shows by --dry-run the plan for each platform on any, with nothing but defaults", async () => {
    const shown = await Promise.all(
      ["linux", "darwin", "win32"].map((name) =>
        runMesh(["host", "install", "--dry-run", "--platform", name]),
      ),
    );
    for (const { code, stdout, stderr } of shown) {
      expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("NATS_URL is not set") });
      expect(stdout).toContain("host.env");
    }
    const removed = await runMesh(["host", "uninstall", "--dry-run", "--platform", "win32"]);
    expect(removed).toMatchObject({ code: 0, stderr: "", stdout: expect.stringContaining("Unregister") });
  });

  it("and its fellows show on any platform where they would look, and full paths of another as they are", async () => {
    const there = ["--dry-run", "--platform", "win32"];
    const [status, logs, install] = await Promise.all([
      runMesh(["host", "status", ...there]),
      runMesh(["host", "logs", ...there]),
      runMesh(["host", "install", ...there, "--winsw", "C:\\Down loads\\WinSW.exe"]),
    ]);
    expect(status).toMatchObject({ code: 0, stdout: expect.stringContaining("Win32_Service") });
    expect(logs).toMatchObject({
      code: 0,
      stdout: "read C:\\ProgramData\\agent-mesh\\state\\log\\host.log\n",
    });
    expect(install.stdout).toContain("copy C:\\Down loads\\WinSW.exe to");
  });

  it.each([
    ["an address that is none", { NATS_URL: "not a url" }, "NATS_URL: "],
    ["an authority that is not there", { NATS_CA_FILE: "/no/ca.pem" }, "NATS_CA_FILE: there is no file"],
    ["a setting that is none", { MESH_HOST_SLOTS: "x" }, "MESH_HOST_SLOTS: expected a number"],
    ["a host id that is none", { MESH_HOST_ID: "A B" }, "MESH_HOST_ID: expected a host id"],
  ])("refuses %s before anything is planned", async (_, env, words) => {
    const refused = await runMesh(["host", "install", "--dry-run"], {
      env: { NATS_URL: "nats://127.0.0.1:1", ...env },
    });
    expect(refused).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(words) });
  });

  it("refuses what cannot be done here, and touches nothing", async () => {
    const env = { NATS_URL: "nats://127.0.0.1:1" };
    const [elsewhere, account, without, status] = await Promise.all([
      runMesh(["host", "install", "--platform", process.platform === "win32" ? "linux" : "win32"], { env }),
      runMesh(["host", "install", "--dry-run", "--platform", "linux", "--account", "a b"]),
      runMesh(["host", "install"]),
      runMesh(["host", "status", "--json"]),
    ]);
    expect(elsewhere).toMatchObject({ code: 2, stderr: expect.stringContaining("--dry-run") });
    expect(account).toMatchObject({ code: 2, stderr: expect.stringContaining("--account") });
    expect(without).toMatchObject({ code: 2, stderr: expect.stringContaining("NATS_URL") });
    // Installed or not, and with systemd or without.
    expect(status.code).toBe(1);
    expect(status.stdout + status.stderr).toMatch(/"installed":false|does not answer: systemctl/);
  });
});
