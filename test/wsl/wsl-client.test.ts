// The client of wsl.exe against whatever MESH_WSL_EXE names, our own fake if nothing; faults are ours alone.
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { findWsl } from "../../services/host-agent/wsl/find-wsl.ts";
import { bundleGuest } from "../../services/host-agent/wsl/guest-bundle.ts";
import { installGuest } from "../../services/host-agent/wsl/install-guest.ts";
import { createWsl } from "../../services/host-agent/wsl/wsl.ts";
import { wslEnvironment } from "../../services/host-agent/wsl/wsl-call.ts";
import {
  type FakeWindows,
  hasDistros,
  isOurFake,
  startFakeWindows,
  WSL_PROGRAM,
} from "../support/fake-wsl.ts";

const DISTRO = "agent-mesh-test";
const OTHER = "agent-mesh-of-somebody";
const failure = (reason: string) => ({ ok: false, failure: { reason } });

describe.skipIf(!hasDistros)("the client of wsl.exe", () => {
  let windows: FakeWindows;
  beforeAll(async () => {
    windows = startFakeWindows();
    const folder = path.join(windows.folder, "distros", DISTRO);
    const made = await windows.wsl.importTar({ distro: DISTRO, folder, file: windows.image });
    if (!made.ok) throw new Error(made.failure.message);
  });
  afterAll(() => windows[Symbol.asyncDispose]());
  const sh = (script: string, distro = DISTRO) =>
    windows.wsl.run({ distro, user: "root", argv: ["/bin/sh", "-c", script] });

  test("reads version and distros, in English and in Chinese, in either encoding", async () => {
    for (const env of [{}, { FAKE_WSL_LANGUAGE: "zh" }] as Record<string, string>[]) {
      Object.assign(process.env, env);
      onTestFinished(() => void delete process.env.FAKE_WSL_LANGUAGE);
      expect(await windows.wsl.version()).toMatchObject({
        ok: true,
        value: { windows: expect.stringMatching(/^10\./) },
      });
      expect(await windows.wsl.list()).toMatchObject({
        ok: true,
        value: [{ name: DISTRO, isDefault: true, wslVersion: 2 }],
      });
      expect(await sh("true", "agent-mesh-none")).toMatchObject(failure("no-such-distro"));
    }
  });

  test("a short command gets its input, and gives its output and how it ended", async () => {
    const argv = ["/bin/sh", "-c", "cat; echo err >&2; exit 7"];
    const end = await windows.wsl.run({ distro: DISTRO, user: "mesh", argv, stdin: Buffer.from("in\0\n") });
    expect(end).toEqual({ ok: true, value: { exitCode: 7, stdout: Buffer.from("in\0\n"), stderr: "err\n" } });
    expect(await sh("exit 255")).toMatchObject({ ok: true, value: { exitCode: 255 } });
    expect(await windows.wsl.run({ distro: DISTRO, user: "root", argv: ["/no/such"] })).toMatchObject(
      failure("no-such-program"),
    );
    expect(await windows.wsl.run({ distro: DISTRO, user: "nobody-here", argv: ["/bin/true"] })).toMatchObject(
      failure("no-such-user"),
    );
  });

  test("a short command that prints without end is ended", async () => {
    const argv = ["/bin/sh", "-c", "cat /dev/zero"];
    expect(await windows.wsl.run({ distro: DISTRO, user: "root", argv })).toMatchObject(
      failure("too-much-output"),
    );
    // It was told so by a broken pipe.
    await vi.waitUntil(
      async () => {
        const left = await sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'cat /dev/zer[o]'");
        return left.ok && left.value.stdout.toString() === "0\n";
      },
      { timeout: 20_000 },
    );
  });

  test("nothing of the host's environment reaches a distro, even where its owner wants that", async () => {
    Object.assign(process.env, { WSLENV: "MESH_TEST_SECRET", MESH_TEST_SECRET: "s" });
    onTestFinished(() => void (delete process.env.WSLENV, delete process.env.MESH_TEST_SECRET));
    const seen = await sh("env");
    expect(seen.ok && seen.value.stdout.toString()).not.toMatch(/MESH_TEST_SECRET|WSLENV/);
  });

  test("a long-lived command speaks and hears, and ends when its input does", async () => {
    const [program = "", ...args] = windows.wsl.commandInside({
      distro: DISTRO,
      user: "root",
      argv: ["/bin/cat"],
    });
    const child = spawn(program, args, { env: wslEnvironment() });
    const echoed = new Promise((done) =>
      child.stdout.once("data", (bytes: Buffer) => done(bytes.toString())),
    );
    child.stdin.write("hello");
    expect(await echoed).toBe("hello");
    child.stdin.end();
    expect(await new Promise((done) => child.once("exit", done))).toBe(0);
  });

  test("gives a distro the guest of this very version, and takes others away", async () => {
    await sh("mkdir -p /opt/agent-mesh && touch /opt/agent-mesh/guest-old.mjs /opt/agent-mesh/kept");
    const bundle = await bundleGuest();
    const installed = { ok: true, value: `/opt/agent-mesh/${bundle.fileName}` };
    expect(await installGuest(windows.wsl, DISTRO, bundle)).toEqual(installed);
    // One that is there already needs no room on a disk that has none.
    await sh("touch -d @1 /opt/agent-mesh/guest-*");
    expect(await installGuest(windows.wsl, DISTRO, bundle)).toEqual(installed);
    const there = await sh("cd /opt/agent-mesh && ls && sha256sum guest-* && stat -c %Y guest-*");
    expect(there.ok && there.value.stdout.toString()).toBe(
      `${bundle.fileName}\nkept\n${bundle.digest}  ${bundle.fileName}\n1\n`,
    );
    await sh(`echo damaged >> /opt/agent-mesh/${bundle.fileName}`);
    expect(await installGuest(windows.wsl, DISTRO, bundle)).toEqual(installed);
    const damaged = { ...bundle, fileName: "guest-damaged.mjs", bytes: bundle.bytes.subarray(1) };
    expect(await installGuest(windows.wsl, DISTRO, damaged)).toMatchObject(failure("unknown"));
    const still = await sh("ls -A /opt/agent-mesh");
    expect(still.ok && still.value.stdout.toString()).toBe(`${bundle.fileName}\nkept\n`);
  });

  test("a distro with our prefix that somebody else has made is neither stopped nor removed", async () => {
    const folder = path.join(windows.folder, "distros", OTHER);
    await windows.wsl.importTar({ distro: OTHER, folder, file: windows.image });
    await sh("rm /etc/agent-mesh-distro", OTHER);
    // As after a restart: what it has made itself it knows.
    const wsl = createWsl(WSL_PROGRAM);
    for (const act of [wsl.terminate, wsl.unregister])
      for (const distro of [OTHER, "Ubuntu", "", "agent-mesh-a --all"])
        expect(await act(distro)).toMatchObject(failure("not-ours"));
    expect(await wsl.exportTo({ distro: OTHER, file: path.join(windows.folder, "x.tar") })).toMatchObject(
      failure("not-ours"),
    );
    expect((await sh("true", OTHER)).ok).toBe(true);
    expect(await wsl.terminate("agent-mesh-none")).toMatchObject(failure("no-such-distro"));
    expect(await windows.wsl.unregister(OTHER)).toEqual({ ok: true, value: null });
  });

  test("a name that is taken stays whose it is; what cannot be imported leaves nothing", async () => {
    const folder = path.join(windows.folder, "distros", "new");
    const file = path.join(windows.folder, "no-image.tar");
    writeFileSync(file, "no tarball");
    const { wsl } = windows;
    expect(await wsl.importTar({ distro: DISTRO.toUpperCase(), folder, file: windows.image })).toMatchObject(
      failure("name-taken"),
    );
    expect(await wsl.importTar({ distro: DISTRO, folder, file: windows.image })).toMatchObject(
      failure("name-taken"),
    );
    expect(await wsl.importTar({ distro: "agent-mesh-new", folder, file })).toMatchObject(failure("corrupt"));
    expect(await wsl.importTar({ distro: "agent-mesh-new", folder: `${folder} 2`, file })).toMatchObject(
      failure("bad-argument"),
    );
    const there = await wsl.list();
    expect(there.ok && there.value.map(({ name }) => name)).toEqual([DISTRO]);
    expect(existsSync(folder)).toBe(false);
  });

  test("what it could neither make whole nor take away at once stays its own to remove", async () => {
    const program = path.join(windows.folder, "wsl-that-fails");
    const said = path.join(windows.folder, "said-busy");
    // It registers what it was told to, and says that it has not; at first it is still at that.
    writeFileSync(
      program,
      `#!/bin/sh
case $1 in
  --import) "${WSL_PROGRAM}" "$@" > /dev/null; echo "Error code: Wsl/Service/RegisterDistro/E_FAIL"; exit 255 ;;
  --unregister) [ -e "${said}" ] || { : > "${said}"; echo "Error code: Wsl/Service/E_ILLEGAL_STATE_CHANGE"; exit 255; } ;;
esac
exec "${WSL_PROGRAM}" "$@"
`,
      { mode: 0o755 },
    );
    const distro = "agent-mesh-half";
    const wsl = createWsl(program);
    const folder = path.join(windows.folder, "distros", "half");
    expect(await wsl.importTar({ distro, folder, file: windows.image })).toMatchObject(failure("unknown"));
    expect(existsSync(folder)).toBe(false);
    const names = async () => {
      const there = await wsl.list();
      return there.ok && there.value.map(({ name }) => name);
    };
    expect(await names()).toContain(distro);
    expect(await wsl.unregister(distro)).toEqual({ ok: true, value: null });
    expect(await names()).not.toContain(distro);
  });

  test.skipIf(!isOurFake)("every command goes inside as argv, from /, in UTF-8", () => {
    const runs = windows.calls().filter(({ line }) => line.startsWith("-d "));
    expect(runs.length).toBeGreaterThan(5);
    for (const { line } of runs) expect(line).toMatch(/^-d \S+ -u \S+ --cd \/ -e \//);
    for (const { WSL_UTF8, WSLENV } of windows.calls()) expect([WSL_UTF8, WSLENV]).toEqual(["1", undefined]);
  });
});

describe.skipIf(!hasDistros || !isOurFake)("trouble with wsl.exe", () => {
  test("whatever hangs is killed when its time is over, and what waits behind it goes on", async () => {
    await using windows = startFakeWindows({ times: { version: 1_500, list: 1_500, run: 1_500 } });
    windows.faults({ hang: "" });
    const { wsl } = windows;
    const listing = [wsl.list(), wsl.list()];
    expect(await wsl.version()).toMatchObject(failure("hung"));
    expect(await wsl.run({ distro: DISTRO, user: "root", argv: ["/bin/true"] })).toMatchObject(
      failure("hung"),
    );
    for (const list of listing) expect(await list).toMatchObject(failure("hung"));
    windows.faults({});
    await vi.waitUntil(async () => (await wsl.list()).ok, { timeout: 20_000 });
    const hung = windows.calls().filter(({ exitCode }) => exitCode === undefined);
    expect(new Set(hung.map(({ line }) => line.split(" ")[0]))).toEqual(new Set(["-l", "--version", "-d"]));
  });

  test("a service that has lost its machine is told from an account that has none, and from a full disk", async () => {
    await using windows = startFakeWindows();
    const { wsl, faults } = windows;
    const folder = path.join(windows.folder, "a");
    faults({ unexpected: true });
    expect(await wsl.list()).toMatchObject(failure("service-broken"));
    faults({ code: "Wsl/E_ACCESSDENIED" });
    expect(await wsl.list()).toMatchObject(failure("wrong-account"));
    faults({ diskFull: true });
    expect(await wsl.importTar({ distro: DISTRO, folder, file: windows.image })).toMatchObject(
      failure("disk-full"),
    );
    expect([await wsl.list(), existsSync(folder)]).toEqual([{ ok: true, value: [] }, false]);
  });

  test("all distros are shut down only when all are ours", async () => {
    await using windows = startFakeWindows();
    const { wsl, image, folder, faults } = windows;
    expect((await wsl.importTar({ distro: DISTRO, folder: path.join(folder, "a"), file: image })).ok).toBe(
      true,
    );
    expect((await wsl.list()).ok).toBe(true);
    faults({ unexpected: true });
    expect(await wsl.shutdown()).toEqual({ ok: true, value: null });
    expect((await wsl.start(DISTRO)).ok).toBe(true);
    const own = spawn(WSL_PROGRAM, ["--import", "Ubuntu", path.join(folder, "b"), image], {
      stdio: "ignore",
    });
    await new Promise((done) => own.once("exit", done));
    expect(await wsl.shutdown()).toMatchObject(failure("not-ours"));
  });

  test("the program itself may be missing, no program, or one that only forwards", async () => {
    const folder = startFakeWindows();
    onTestFinished(() => folder[Symbol.asyncDispose]());
    const file = path.join(folder.folder, "wsl.exe");
    expect(await findWsl(file)).toMatchObject(failure("no-wsl"));
    expect(await findWsl("wsl.exe")).toMatchObject(failure("no-wsl"));
    expect(await findWsl("C:\\Windows\\System32\\wsl.exe")).toMatchObject(failure("no-wsl"));
    expect(await findWsl(WSL_PROGRAM)).toEqual({ ok: true, value: WSL_PROGRAM });
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, "no program");
    expect(await createWsl(file).version()).toMatchObject(failure("no-wsl"));
    writeFileSync(file, "#!/bin/sh\necho 'no such option'\nexit 255\n");
    chmodSync(file, 0o755);
    expect(await createWsl(file).version()).toMatchObject(failure("unknown"));
  });
});
