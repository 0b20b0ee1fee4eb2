// `mesh host run`, as a service manager starts it.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { runMesh, startProgram, untilGone } from "../support/mesh-program.ts";
import { startNats } from "../support/nats.ts";

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-host-run-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

it("the host agent takes its settings from a file, keeps its log in another, and SIGHUP ends it in order", async () => {
  await using nats = await startNats();
  const folder = await temporaryFolder();
  const [envFile, logFile] = [path.join(folder, "host.env"), path.join(folder, "log", "host.log")];
  await writeFile(envFile, `NATS_URL=${nats.url}\nMESH_HOST_ID=attic\n`);
  const env = { MESH_DATA_DIR: path.join(folder, "data"), MESH_HOST_SANDBOX: "0" };
  const host = startProgram(["host", "run", "--environment", envFile, "--log-file", logFile], { env });
  await vi.waitFor(async () => expect(await readFile(logFile, "utf8")).toContain('"runner codex"'), 30_000);
  host.kill("SIGHUP");
  expect(await host.ended).toMatchObject({ code: 0, stdout: "" });
  expect(await untilGone(folder)).toEqual([]);
  expect(await readFile(logFile, "utf8")).toContain('"hostId":"attic"');
});

it("what it cannot run with is said in the log as well, without the secret", async () => {
  const folder = await temporaryFolder();
  const logFile = path.join(folder, "host.log");
  const env = { NATS_URL: "http://secret@127.0.0.1:1" };
  const refused = await runMesh(["host", "run", "--log-file", logFile], { env });
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("expected nats://") });
  expect(await readFile(logFile, "utf8")).toContain("expected nats://");
  expect(await readFile(logFile, "utf8")).not.toContain("secret");
  const elsewhere = await runMesh(["host", "run", "--log-file", logFile, "--image", logFile], { env });
  expect(elsewhere.code).toBe(1);
  expect(await readFile(logFile, "utf8")).toContain("no Windows machine");
  const nowhere = { NATS_URL: "nats://127.0.0.1:1", MESH_DATA_DIR: path.join(logFile, "data") };
  const stderr = expect.stringMatching(/^host-agent: MESH_DATA_DIR: ENOTDIR: .*\n$/) as string;
  expect(await runMesh(["host", "run"], { env: nowhere })).toMatchObject({ code: 2, stderr });
  const unreadable = await runMesh(["host", "run", "--environment", folder]);
  expect(unreadable).toMatchObject({ code: 2, stderr: expect.stringContaining("--environment") });
});
