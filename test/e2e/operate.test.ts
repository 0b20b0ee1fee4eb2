// What an operator does to a running mesh by `mesh`: waits for a drain, stops the whole with work in hand.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { makeDemoRepository } from "../../services/cli/up/demo-repository.ts";
import { startProgram, startUp, type UpMesh } from "../support/mesh-program.ts";

const DEADLINE = { timeout: 60_000, interval: 100 };

let folder: string;
let source: string[];
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "mesh-operate-"));
  const { cloneUrl, branch, sha } = await makeDemoRepository(folder);
  source = ["--repo", cloneUrl, "--pr-branch", branch, "--sha", sha];
});
afterAll(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));

const deploy = (up: UpMesh, taskId: string, command: string) =>
  up.mesh(["deploy", ...source, "--task-id", taskId, "--quiet", "--", command]);

interface Task {
  state: string;
  attempt: number;
  failures: number;
}
const task = async (up: UpMesh, taskId: string) =>
  JSON.parse((await up.mesh(["task", taskId, "--json"])).stdout) as Task;
const untilState = (up: UpMesh, taskId: string, state: string) =>
  vi.waitUntil(async () => {
    const now = await task(up, taskId);
    return now.state === state && now;
  }, DEADLINE);

describe("mesh drain --wait", () => {
  it("leaves the drain standing when it is interrupted, and ends once the host is empty", async () => {
    await using up = await startUp(["--hosts", "1"]);
    await deploy(up, "long", "sleep 600");
    await untilState(up, "long", "running");
    const env = { MESH_DATA_DIR: up.dataDir };
    const waiting = startProgram(["drain", "local-1", "--deadline", "1h", "--wait"], { env });
    let said = "";
    waiting.stderr?.on("data", (text: Buffer) => {
      said += text.toString();
    });
    await vi.waitUntil(() => said.includes("local-1 runs long"), DEADLINE);
    waiting.kill("SIGINT");
    expect(await waiting.ended).toMatchObject({
      code: 130,
      stderr: expect.stringContaining("the drain stands"),
    });
    expect((await up.mesh(["hosts"])).stdout).toContain("draining");
    const drained = await up.mesh(["drain", "local-1", "--deadline", "500ms", "--wait"]);
    expect(drained).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("nothing runs there any more"),
    });
    expect(await untilState(up, "long", "queued")).toMatchObject({ attempt: 1, failures: 0 });
    await vi.waitUntil(
      async () => (await up.mesh(["explain", "long"])).stdout.includes("1 draining"),
      DEADLINE,
    );
  });
});

it("mesh up ends when it is told to over the bus", async () => {
  await using up = await startUp(["--hosts", "1"]);
  const stop = await up.mesh(["stop", "--service", "mesh-up", "--json"]);
  expect(stop).toMatchObject({ code: 0, stdout: expect.stringContaining('"service":"mesh-up"') });
  expect((await up.process.ended).code).toBe(0);
});

describe("mesh up that is told to end with work in hand", () => {
  it.each(["SIGTERM", "SIGINT"] as const)(
    "at %s leaves its task on the log, to be done anew by the next one, with nothing counted against it",
    async (signal) => {
      const dataDir = await mkdtemp(path.join(tmpdir(), "mesh-operate-"));
      const witness = path.join(dataDir, "witness");
      const first = await startUp(["--hosts", "1"], { dataDir });
      await deploy(
        first,
        "kept",
        `echo $MESH_ATTEMPT >> ${witness}; until [ -e ${witness}.go ]; do sleep 0.1; done`,
      );
      await vi.waitUntil(async () => (await readFile(witness, "utf8").catch(() => "")) !== "", DEADLINE);
      first.process.kill(signal);
      expect((await first.process.ended).code).toBe(0);
      await writeFile(`${witness}.go`, "");
      await using again = await startUp(["--hosts", "1"], { dataDir });
      expect(await untilState(again, "kept", "succeeded")).toMatchObject({ attempt: 2, failures: 0 });
      expect(await readFile(witness, "utf8")).toBe("1\n2\n");
      await again[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  );
});
