// `mesh doctor` on this machine, with a real bus, and with programs in the place of wsl.exe that are broken.
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { certificateEnd } from "../../services/cli/doctor/certificate.ts";
import type { Finding } from "../../services/cli/doctor/finding.ts";
import { runMesh } from "../support/mesh-program.ts";
import { startNats } from "../support/nats.ts";

const LISTED = `printf '  NAME                 STATE           VERSION\\r\\n* agent-mesh-golden    Stopped         2\\r\\n'`;

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "mesh-doctor-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function examine(env: NodeJS.ProcessEnv) {
  const { code, stdout, stderr } = await runMesh(["doctor", "--json"], { env });
  expect(stderr).toBe("");
  const report = JSON.parse(stdout) as { ok: boolean; findings: (Finding & { group: string })[] };
  expect(code).toBe(report.ok ? 0 : 1);
  const of = (check: string) => report.findings.find((finding) => finding.check === check);
  return { ...report, of };
}

describe("`mesh doctor`", () => {
  it("finds a bus and what it lacks, tells of this machine, and shows no secret", async () => {
    await using nats = await startNats({ token: "doctor-secret" });
    const data = path.join(folder, "data");
    await mkdir(data);
    await chmod(data, 0o755);
    const found = await examine({ NATS_URL: nats.url, MESH_DATA_DIR: data });
    expect(JSON.stringify(found)).not.toContain("doctor-secret");
    expect(found.of("bus")).toMatchObject({
      verdict: "ok",
      found: expect.stringContaining("nats-server 2."),
    });
    expect(found.of("jetstream")).toMatchObject({
      verdict: "warn",
      fix: expect.stringContaining("scheduler"),
    });
    expect(found.of("mesh")).toMatchObject({ verdict: "warn" });
    expect(found.of("data folder")).toMatchObject({ verdict: "warn", fix: `chmod 700 ${data}` });
    expect(found.of("sandbox")).toMatchObject({
      verdict: "warn",
      fix: expect.stringContaining("MESH_HOST_SANDBOX"),
    });
    for (const check of ["node", "git", "limits"]) expect(found.of(check)).toBeDefined();
    expect(found.findings.some(({ group }) => group === "wsl")).toBe(false);
    // Without TLS there is no certificate.
    expect(await certificateEnd(nats.url)).toBeNull();
  });

  it.each([
    ["hangs", "exec sleep 1000", "did not end"],
    [
      "answers in Chinese, in UTF-16",
      `printf '灾难性故障\\r\\n错误代码: Wsl/Service/E_UNEXPECTED\\r\\n' | iconv -t UTF-16LE; exit 255`,
      "E_UNEXPECTED",
    ],
    ["answers nonsense", `head -c 100000 /dev/urandom; exit 1`, ""],
    ["answers nonsense, and says that all is well", `head -c 100000 /dev/urandom`, "there is no agent-mesh"],
    ["says nothing at all", "exit 0", "there is no agent-mesh"],
    ["says nothing, and fails", "exit 255", "without a word"],
    ["never stops talking", "yes 2>/dev/null; exit 0", "printed more than is kept"],
    ["prints 100 MB", "head -c 104857600 /dev/zero", "printed more than is kept"],
    ["hangs and hears no signal", `trap "" TERM INT HUP; while :; do sleep 1; done`, "did not end"],
    [
      "is old",
      `case "$*" in *version*) printf 'WSL 版本: 1.2.5.0\r\nKernel: 5.15.90.1\r\nWindows: 10.0.22621.1\r\n';; *) ${LISTED};; esac`,
      "1.2.5.0, kernel 5.15.90.1",
    ],
    [
      "lists in UTF-16 and runs nothing",
      `case "$*" in "-l -v") ( ${LISTED} ) | iconv -t UTF-16LE;; *) echo what; exit 3;; esac`,
      "did not start",
    ],
    [
      "starts what then says nothing of itself",
      `case "$*" in "-l -v") ${LISTED};; *"echo started"*) echo started;; esac`,
      "does not tell how it is",
    ],
    [
      "is the one that came with Windows, which knows no version",
      `case "$*" in *version*) echo usage; exit 255;; *-q*) ;; *) echo none; exit 255;; esac`,
      "does not tell",
    ],
  ])("fails with the reason when wsl.exe %s, within seconds", async (_, script, words) => {
    const program = path.join(folder, "wsl.exe");
    await writeFile(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const home = path.join(folder, "home");
    await mkdir(home, { recursive: true });
    await writeFile(path.join(home, ".wslconfig"), Buffer.from("[wsl2]\nmemory=4GB\n", "utf16le"));
    const { ok, findings, of } = await examine({ MESH_WSL_EXE: program, USERPROFILE: home });
    expect(ok).toBe(false);
    const failed = findings.filter(({ group, verdict }) => group === "wsl" && verdict === "fail");
    expect(failed.map(({ found }) => found).join("\n")).toContain(words);
    expect(failed.every((finding) => "fix" in finding && finding.fix !== "")).toBe(true);
    expect(of(".wslconfig")).toMatchObject({ verdict: "fail" });
    // The other groups are looked at all the same.
    expect(of("node")).toMatchObject({ verdict: "ok" });
  });

  it.each([
    ["is not there", () => path.join(folder, "none.exe"), "which is not there"],
    ["is named by half a path", () => "wsl.exe", "expected a full path"],
    ["is a folder", () => folder, "does not start"],
    [
      "is no program",
      async () => {
        const file = path.join(folder, "text.exe");
        await writeFile(file, "x");
        return file;
      },
      "does not start",
    ],
    ["only forwards to another", () => "C:\\Windows\\System32\\wsl.exe", "only forwards to the real program"],
  ])("fails with the reason when wsl.exe %s", async (_, program, words) => {
    const { ok, findings } = await examine({ MESH_WSL_EXE: await program() });
    expect(ok).toBe(false);
    const failed = findings.filter(({ group, verdict }) => group === "wsl" && verdict === "fail");
    expect(failed.map(({ found }) => found).join("\n")).toContain(words);
  });

  it("fails for a bus that is not there, and refuses settings that nobody can run with", async () => {
    const { of, ok } = await examine({ NATS_URL: "nats://127.0.0.1:1" });
    expect({ ok, bus: of("bus") }).toMatchObject({ ok: false, bus: { verdict: "fail" } });
    const file = path.join(folder, "host.env");
    await writeFile(file, "MESH_HOST_SLOTS='none'\n");
    expect(await runMesh(["doctor", "--environment", file])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("MESH_HOST_SLOTS"),
    });
    expect(await runMesh(["doctor", "--environment", folder])).toMatchObject({ code: 2 });
  });
});
