// `mesh host package`: the single-file program, for Windows looked into, for Linux run.
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { buildSingleFile } from "../../services/cli/host/single-file/build.ts";
import { resourceOf } from "../../services/cli/host/single-file/portable-executable.ts";
import { templateOf } from "../../services/host-agent/prompt/prompt.ts";
import { bundleGuest } from "../../services/host-agent/wsl/guest-bundle.ts";
import { TaskType } from "../../shared/contracts/task-type.ts";
import { untilGone } from "../support/mesh-program.ts";
import { startNats } from "../support/nats.ts";

const quiet = { onProgress: () => {}, signal: new AbortController().signal };
const HERE = process.platform === "linux" && process.arch === "x64";

// The Node that it is made of is fetched once.
describe.skipIf(!HERE)("a single-file program", { timeout: 180_000 }, () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "mesh-package-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("for Windows is a program for 64-bit Windows, unsigned, with our code, the guest's and the prompts in it", async () => {
    const file = path.join(folder, "mesh.exe");
    const { bytes } = await buildSingleFile(file, "win32-x64", quiet);
    const exe = await readFile(file);
    expect(exe.length).toBe(bytes);
    const blob = resourceOf(exe, "NODE_SEA_BLOB");
    if ("objection" in blob) throw new Error(blob.objection);
    expect(blob.bytes.includes("mesh host install")).toBe(true);
    expect(blob.bytes.includes((await bundleGuest()).bytes)).toBe(true);
    for (const type of TaskType.options)
      expect(blob.bytes.includes(await readFile(templateOf(type)))).toBe(true);
    expect(exe.includes(["NODE_SEA_FUSE", "fce680ab2cc467b6e072b8b5df1996b2:1"].join("_"))).toBe(true);
    expect(exe.subarray(exe.readUInt32LE(60) + 168).readBigUInt64LE()).toBe(0n);
    expect(resourceOf(exe, "NODE_SEA_BLOBS")).toEqual({ objection: "it has no NODE_SEA_BLOBS" });
    expect(resourceOf(exe.subarray(0, 2), "NODE_SEA_BLOB")).toEqual({
      objection: "it is no Windows program",
    });
  });

  it.each([
    ["a folder", () => folder, "is a folder"],
    ["a folder that is not there", () => path.join(folder, "none/"), "is a folder"],
    ["below a file", () => path.join(import.meta.filename, "mesh.exe"), "nothing can be written in"],
  ])("is not begun where its place is %s", async (_, out, words) => {
    const said: string[] = [];
    const onProgress = (text: string) => void said.push(text);
    await expect(buildSingleFile(out(), "win32-x64", { ...quiet, onProgress })).rejects.toThrow(words);
    expect(said).toEqual([]);
  });

  it("that is given up half-way leaves nothing", async () => {
    const out = path.join(folder, "given-up", "mesh.exe");
    const given = new AbortController();
    const onProgress = (text: string) => {
      if (text.startsWith("making")) setTimeout(() => given.abort(new Error("given up")), 50);
    };
    const built = buildSingleFile(out, "win32-x64", { onProgress, signal: given.signal });
    await expect(built).rejects.toThrow("given up");
    expect(await readdir(path.dirname(out))).toEqual([]);
  });

  it("for Linux is the whole mesh, with nothing beside it: host, supervisor, threads, and verbs", async () => {
    const file = path.join(folder, "mesh");
    await buildSingleFile(file, "linux-x64", quiet);
    expect(resourceOf(await readFile(file), "NODE_SEA_BLOB")).toEqual({
      objection: "it is no Windows program",
    });
    expect((await stat(file)).mode & 0o111).toBe(0o111);
    await using nats = await startNats();
    const data = path.join(folder, "data");
    const env = {
      PATH: "/usr/bin:/bin",
      HOME: folder,
      NATS_URL: nats.url,
      MESH_DATA_DIR: data,
      MESH_HOST_ID: "attic",
    };
    const mesh = (args: string[]) => execa(file, args, { env, extendEnv: false, cwd: folder, reject: false });
    const host = mesh(["host", "run"]);
    let said = "";
    host.stdout.on("data", (chunk: Buffer) => void (said += chunk.toString()));
    await vi
      .waitFor(() => expect(said).toContain("runner codex"), 60_000)
      .finally(() => host.kill("SIGTERM"));
    expect(said).toContain('"hostId":"attic"');
    expect((await host).exitCode).toBe(0);
    expect(await untilGone(data)).toEqual([]);
    const examined = await mesh(["doctor", "--json"]);
    expect(JSON.parse(examined.stdout)).toMatchObject({ ok: examined.exitCode === 0 });
    expect(examined.stdout).toContain('"check":"sandbox"');
    const simulated = await mesh(["simulate", "--tasks", "20", "--hosts", "2", "--policy", "resource"]);
    expect(simulated).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("2 of 2 runs") });
    expect(await mesh(["services/host-agent/guest/main.ts"])).toMatchObject({ exitCode: 2 });
    expect(await mesh(["no-such-verb"])).toMatchObject({ exitCode: 2 });
  });
});
