// What the fake has in common with the real wsl.exe: one test for each fact that the product relies on.
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import {
  type FakeWindows,
  hasDistros,
  isOurFake,
  startFakeWindows,
  WSL_PROGRAM,
} from "../support/fake-wsl.ts";

const DEADLINE = { timeout: 20_000, interval: 50 };
const A = "agent-mesh-a";
const ROOT = ["-d", A, "-u", "root", "--cd", "/", "-e"];
const CHINESE = { FAKE_WSL_LANGUAGE: "zh" };

/** As it stands on a console with UTF-8. */
async function wsl(args: string[], options: { env?: Record<string, string>; input?: string } = {}) {
  const { env = {}, input = "" } = options;
  const end = await execa(WSL_PROGRAM, args, {
    env: { WSL_UTF8: "1", ...env },
    input,
    reject: false,
    encoding: "buffer",
    stripFinalNewline: false,
  });
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
  return {
    exitCode: end.exitCode,
    bytes: Buffer.from(end.stdout),
    stdout: text(end.stdout),
    stderr: text(end.stderr),
  };
}
const inside = (script: string, options?: { env?: Record<string, string>; input?: string }) =>
  wsl([...ROOT, "/bin/sh", "-c", script], options);

describe.skipIf(!hasDistros || !isOurFake)("the fake wsl.exe", () => {
  let windows: FakeWindows;
  beforeAll(async () => {
    windows = startFakeWindows();
    await wsl(["--import", A, path.join(windows.folder, "a"), windows.image]);
  });
  afterAll(() => windows[Symbol.asyncDispose]());

  /** A long-lived command in the distro. */
  function attach(script: string) {
    const child = spawn(WSL_PROGRAM, [...ROOT, "/bin/sh", "-c", script], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    let printed = "";
    child.stdout.on("data", (bytes: Buffer) => {
      printed += bytes.toString();
    });
    const exited = new Promise<number | null>((done) => child.once("exit", done));
    onTestFinished(() => void child.kill("SIGKILL"));
    return { child, exited, says: (text: string) => vi.waitUntil(() => printed.includes(text), DEADLINE) };
  }
  const isThere = async (mark: string) =>
    (await inside(`cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c '${mark}[ ]'`)).stdout.trim() !== "0";

  test("prints UTF-16 without a mark, UTF-8 if told so, with the line ends of Windows, errors on stdout", async () => {
    const said = (await wsl(["-d", "no", "-e", "true"])).stdout;
    expect(said).toBe(
      "There is no distribution with the supplied name.\r\nError code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\r\n",
    );
    const wide = await wsl(["-d", "no", "-e", "true"], { env: { WSL_UTF8: "" } });
    expect(wide.bytes).toEqual(Buffer.from(said, "utf16le"));
    expect(wide).toMatchObject({ exitCode: 255, stderr: "" });
    expect(windows.calls().at(-1)).toMatchObject({ exitCode: 4_294_967_295, line: "-d no -e true" });
  });

  test("in another language all words change, and neither codes nor tables do", async () => {
    const chinese = await wsl(["-d", "no", "-e", "true"], { env: CHINESE });
    expect(chinese.stdout).toContain("错误代码: Wsl/Service/WSL_E_DISTRO_NOT_FOUND");
    const table = (await wsl(["-l", "-v"], { env: CHINESE })).stdout.split("\r\n");
    expect(table[0]).toBe("  NAME            STATE           VERSION");
    expect(table[1]).toMatch(/^\* agent-mesh-a {4}(Running|Stopped) {9}2$/);
  });

  test("lists, and what goes wrong in them, end as those of Windows do", async () => {
    expect((await wsl(["-t", A])).stdout).toBe("The operation completed successfully. \r\n");
    expect(await wsl(["-l", "-q"])).toMatchObject({ stdout: `${A}\r\n`, exitCode: 0 });
    expect(await wsl(["-l", "--running", "-q"])).toMatchObject({ stdout: "", exitCode: 0 });
    expect(await wsl(["-l", "--running"])).toMatchObject({ exitCode: 255 });
    for (const line of [["-l", "-q", "-v"], ["--help"], ["--nonsense"]]) {
      const { exitCode, stdout } = await wsl(line);
      expect([exitCode, stdout.includes("Wsl/")]).toEqual([255, false]);
    }
  });

  test.each([
    ["exit 5", 5],
    ["kill -9 $$", 9],
    ["kill -15 $$", 15],
    ["exit 255", 255],
    // Taken for errors of its own.
    ["exit 67", 255],
    ["exit 87", 255],
  ])("a command that ends by `%s` gives %i", async (script, exitCode) => {
    expect((await inside(script)).exitCode).toBe(exitCode);
  });

  test("a program that is not there, and a user, are told as WSL tells them", async () => {
    const program = await wsl([...ROOT, "/no/such"]);
    expect(program).toMatchObject({ exitCode: 1, stdout: "" });
    expect(program.stderr).toMatch(
      /^<3>WSL \(\d+ - Relay\) ERROR: CreateProcessCommon:\d+: execvpe\(\/no\/such\) failed/,
    );
    const user = await wsl(["-d", A, "-u", "nobody-here", "--cd", "/", "-e", "true"]);
    expect(user.exitCode).toBe(255);
    expect(user.stdout).toContain("/WSL_E_USER_NOT_FOUND");
  });

  test("after -e argv arrives as it was given; without it a shell reads it once more", async () => {
    const words = ["", "$HOME", "a  b", 'quo"ted', "back\\", 'both\\"', "new\nline", "-d", "ü"];
    const { stdout } = await wsl([...ROOT, "/usr/bin/env", "printf", "<%s>", ...words]);
    expect(stdout).toBe(words.map((word) => `<${word}>`).join(""));
    expect((await wsl(["-d", A, "--cd", "/", "--", "echo", "$HOME"])).stdout).toBe("/home/mesh\n");
    expect(await wsl(["-d", '"a b"', "-e", "true"])).toMatchObject({ exitCode: 255 });
  });

  test("of the Windows environment only what WSLENV lists crosses, an unset name as an empty one", async () => {
    expect((await inside("env", { env: { SECRET: "s" } })).stdout).not.toContain("SECRET");
    const env = { WSLENV: "SECRET:UNSET:ODD/x:FILE/p", SECRET: "s", ODD: "o", FILE: "C:\\a\\b" };
    const seen = (await inside("env", { env })).stdout.split("\n");
    expect(seen).toEqual(
      expect.arrayContaining(["SECRET=s", "UNSET=", "FILE=/mnt/c/a/b", `WSLENV=${env.WSLENV}`]),
    );
    expect(seen).not.toContain("ODD=o");
  });

  test("a missing folder is complained of, and the command runs all the same", async () => {
    const missing = await wsl(["-d", A, "--cd", "/not/there", "-e", "pwd"]);
    expect(missing).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining("chdir(/not/there) failed 2"),
    });
    const none = await wsl(["-d", A, "-e", "pwd"]);
    expect(none).toMatchObject({ stdout: "/home/mesh\n", stderr: expect.stringContaining("wsl: ") });
  });

  test("the three streams are pipes, binary and apart, beside a controlling terminal", async () => {
    const script = "test -p /dev/stdin && test -p /dev/stdout && : < /dev/tty && echo pipes; tty >&2; cat";
    expect(await inside(script, { input: "\0\u0001\r\n" })).toMatchObject({
      stdout: "pipes\n\0\u0001\r\n",
      stderr: "not a tty\n",
    });
    const large = await inside("head -c 3000000 /dev/zero");
    expect(large.bytes.length).toBe(3_000_000);
  });

  test("it ends with the command, though what that left holds the pipes and goes on", async () => {
    const { stdout } = await inside("setsid sleep 4711 & sleep 0.5; echo first");
    expect(stdout).toBe("first\n");
    expect(await isThere("sleep 4711")).toBe(true);
  });

  test("killed, it does not kill: stdin ends, the terminal hangs up, and a session of its own goes on", async () => {
    const reading = attach(
      "trap 'echo HUP > /tmp/hup' HUP; echo up; while read line; do :; done; echo ended > /tmp/eof; sleep 0.2",
    );
    const leading = attach("echo up; exec sleep 4712");
    const apart = attach("setsid sleep 4713 & sleep 1 ; echo up; wait");
    for (const { says } of [reading, leading, apart]) await says("up");
    for (const { child } of [reading, leading, apart]) child.kill("SIGKILL");
    await vi.waitUntil(
      () => inside("cat /tmp/eof /tmp/hup").then(({ stdout }) => stdout === "ended\nHUP\n"),
      DEADLINE,
    );
    await vi.waitUntil(async () => !(await isThere("sleep 4712")), DEADLINE);
    expect(await isThere("sleep 4713")).toBe(true);
  });

  test("a command that has closed its stdin is hung up when more is written to it", async () => {
    const deaf = attach("exec 0< /dev/null; echo up; sleep 4720");
    await deaf.says("up");
    deaf.child.stdin.on("error", () => {});
    deaf.child.stdin.write("more");
    expect(await deaf.exited).toBe(1);
    await vi.waitUntil(async () => !(await isThere("sleep 4720")), DEADLINE);
  });

  test("--terminate ends everything in a distro, whoever is attached to it with 1", async () => {
    const { exited, says } = attach("trap '' HUP TERM; echo up; sleep 4714; sleep 4715");
    await says("up");
    await wsl(["--terminate", A]);
    expect(await exited).toBe(1);
    expect((await wsl(["-l", "-v"])).stdout).toContain("Stopped");
    expect(await isThere("sleep 471[45]")).toBe(false);
  });

  test("when the machine of all distros is gone, whoever is attached ends with 1", async () => {
    for (const what of ["vm-crash", "relay-oom"] as const) {
      const { exited, says } = attach("echo up; sleep 4716");
      await says("up");
      await windows.happens(what);
      expect(await exited).toBe(1);
    }
  });

  test("names and folders are taken once, and only tarballs are imported as such", async () => {
    const taken = await wsl(["--import", A.toUpperCase(), path.join(windows.folder, "b"), windows.image]);
    expect(taken.stdout).toContain("Wsl/Service/RegisterDistro/ERROR_ALREADY_EXISTS");
    const folder = await wsl(["--import", "other", path.join(windows.folder, "a"), windows.image]);
    expect(folder.stdout).toContain("Wsl/Service/RegisterDistro/ERROR_FILE_EXISTS");
    const name = await wsl(["--import", "ä", path.join(windows.folder, "b"), windows.image]);
    expect(name.stdout).toContain("Wsl/Service/RegisterDistro/E_INVALIDARG");
    const disk = await wsl(["--import", "other", path.join(windows.folder, "b"), "/x.vhdx"]);
    expect(disk).toMatchObject({ exitCode: 255, stdout: expect.not.stringContaining("Wsl/") });
    const broken = await wsl(["--import", "other", path.join(windows.folder, "b"), "/etc/passwd"]);
    expect(broken.stdout).toContain("/WSL_E_IMPORT_FAILED");
    expect(existsSync(path.join(windows.folder, "b"))).toBe(false);
  });

  test("a disk is a file: a copy is another distro, and one put in its place is what starts next", async () => {
    const clone = path.join(windows.folder, "clone");
    mkdirSync(clone);
    await inside("echo golden > /srv/which");
    await wsl(["--terminate", A]);
    copyFileSync(path.join(windows.folder, "a/ext4.vhdx"), path.join(clone, "ext4.vhdx"));
    await wsl(["--import-in-place", "clone", path.join(clone, "ext4.vhdx")]);
    const which = () => wsl(["-d", "clone", "-u", "root", "--cd", "/", "-e", "/bin/cat", "/srv/which"]);
    expect((await which()).stdout).toBe("golden\n");
    await wsl(["-d", "clone", "-u", "root", "--cd", "/", "-e", "/bin/sh", "-c", "echo used > /srv/which"]);
    expect((await which()).stdout).toBe("used\n");
    expect((await inside("cat /srv/which")).stdout).toBe("golden\n");
    await wsl(["--terminate", "clone"]);
    copyFileSync(path.join(windows.folder, "a/ext4.vhdx"), path.join(clone, "ext4.vhdx"));
    expect((await which()).stdout).toBe("golden\n");
    await wsl(["--unregister", "clone"]);
  });

  test("distros share /mnt/wsl and the network, and neither processes nor files", async () => {
    await wsl(["--import", "other", path.join(windows.folder, "other"), windows.image]);
    const other = (script: string) =>
      wsl(["-d", "other", "-u", "root", "--cd", "/", "-e", "/bin/sh", "-c", script]);
    await inside("echo shared > /mnt/wsl/x; echo own > /tmp/x; setsid nohup sleep 4717 > /dev/null 2>&1 &");
    expect(
      (await other("cat /mnt/wsl/x; cat /tmp/x; cat /proc/[0-9]*/cmdline | grep -c 471[7]")).stdout,
    ).toBe("shared\n0\n");
    expect((await other("readlink /proc/self/ns/net")).stdout).toBe(
      (await inside("readlink /proc/self/ns/net")).stdout,
    );
    await wsl(["--unregister", "other"]);
  });

  test("faults come when they are told to, and go", async () => {
    onTestFinished(() => windows.faults({}));
    const says = async (args: string[]) => (await wsl(args)).stdout;
    windows.faults({ unexpected: true });
    expect(await says(["-l", "-v"])).toContain("Wsl/Service/E_UNEXPECTED");
    expect((await wsl(["--shutdown"])).stdout).toBe("");
    expect(await says(["-l", "-v"])).toContain(A);
    windows.faults({ maxDisks: 0 });
    expect(await says([...ROOT, "true"])).toContain("/WSL_E_TOO_MANY_DISKS_ATTACHED");
    windows.faults({ sharingViolationUntilMs: Date.now() + 60_000 });
    expect(await says([...ROOT, "true"])).toContain("/ERROR_SHARING_VIOLATION");
    windows.faults({ readOnly: true, proxyWarning: true });
    const readOnly = await inside("touch /srv/x");
    expect(readOnly.stderr).toMatch(/^wsl: A localhost proxy.*\r\n.*Read-only/s);
    await wsl(["--terminate", A]);
    windows.faults({ killedForMemoryAfterMs: 10 });
    expect((await inside("sleep 60")).exitCode).toBe(9);
  });

  test("clocks inside go wrong when they are told to", async ({ skip }) => {
    skip(globSync("/usr/lib/*/faketime").length === 0, "NOT TESTED: no libfaketime (apt install faketime)");
    onTestFinished(() => windows.faults({}));
    windows.faults({ clockOffMs: -3_600_000 });
    const { stdout, stderr } = await inside("date +%s");
    expect([Math.round((Date.now() / 1_000 - Number(stdout)) / 600), stderr]).toEqual([6, ""]);
  });

  test("the local system has no WSL, and each other user has one of his own", async () => {
    const system = await wsl(["-l", "-v"], { env: { FAKE_WSL_USER: "SYSTEM" } });
    expect(system.stdout).toContain("Wsl/WSL_E_LOCAL_SYSTEM_NOT_SUPPORTED");
    const state = statSync(path.join(windows.folder, "state/users/owner/registry.json"));
    expect((await wsl(["-l", "-q"], { env: { FAKE_WSL_USER: "guest" } })).stdout).toBe("");
    expect(statSync(path.join(windows.folder, "state/users/owner/registry.json")).mtimeMs).toBe(
      state.mtimeMs,
    );
  });
});

describe.skipIf(!hasDistros || !isOurFake)("a fake that takes its time", () => {
  test("keeps a distro to what is being done with it, and shows what is installed to nobody", async () => {
    await using windows = startFakeWindows({ env: { FAKE_WSL_LATENCY: "2" } });
    const etc = path.join(windows.folder, "etc.tar");
    await execa("tar", ["-cf", etc, "-C", "/", "etc/hostname"]);
    const folder = path.join(windows.folder, "a");
    const importing = wsl(["--import", A, folder, etc]);
    await vi.waitUntil(() => existsSync(folder), DEADLINE);
    const [listed, run] = await Promise.all([wsl(["-l", "-q"]), wsl([...ROOT, "true"])]);
    expect([listed.stdout, run.stdout]).toEqual(["", expect.stringContaining("/WSL_E_DISTRO_NOT_FOUND")]);
    expect((await importing).exitCode).toBe(0);
    const exporting = wsl(["--export", A, path.join(windows.folder, "a.tar.gz"), "--format", "tar.gz"]);
    const shows = async () => (await wsl(["-l", "-v"])).stdout;
    await vi.waitUntil(async () => (await shows()).includes("Exporting"), DEADLINE);
    expect((await wsl(["-t", A])).stdout).toContain("/E_ILLEGAL_STATE_CHANGE");
    expect((await exporting).exitCode).toBe(0);
    await wsl([...ROOT, "true"]);
    expect(await shows()).toContain("Running");
    const stopping = wsl(["--terminate", A]);
    await vi.waitUntil(() => windows.calls().some(({ line }) => line === `--terminate ${A}`), DEADLINE);
    // One lock for all of a user: even a list waits.
    expect(await shows()).toContain("Stopped");
    await stopping;
    windows.faults({ unregisterLeavesFile: true });
    expect((await wsl(["--unregister", A])).exitCode).toBe(0);
    expect(existsSync(path.join(folder, "ext4.vhdx"))).toBe(true);
    expect(await shows()).not.toContain(A);
  });
});

describe.skipIf(!hasDistros || !isOurFake)("idle distros of the fake", () => {
  test("are stopped after their time, though daemons run in them, and not while anybody is attached", async () => {
    await using windows = startFakeWindows({ profile: "[general]\ninstanceIdleTimeout=400\n" });
    await wsl(["--import", A, path.join(windows.folder, "a"), windows.image]);
    const running = async () => (await wsl(["-l", "--running", "-q"])).stdout.includes(A);
    const child = spawn(WSL_PROGRAM, [...ROOT, "/bin/sh", "-c", "echo up; read line"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    await new Promise((done) => child.stdout.once("data", done));
    // Killed, a command leaves nobody behind who counts.
    const left = spawn(WSL_PROGRAM, [...ROOT, "/bin/sh", "-c", "setsid sleep 4718 & sleep 1; echo up; wait"]);
    await new Promise((done) => left.stdout.once("data", done));
    left.kill("SIGKILL");
    await new Promise((done) => setTimeout(done, 800));
    expect(await running()).toBe(true);
    child.stdin.end();
    await vi.waitUntil(async () => !(await running()), DEADLINE);
    expect(readFileSync(path.join(windows.folder, "state/calls.jsonl"), "utf8")).toContain("--running");
  });
});
