// A Windows host's whole path, from the order to the log, through wsl.exe into a distro and back; and what becomes of
// it when something on that way breaks. The machine speaks Chinese.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { withArguments } from "../../services/host-agent/guest/processes.ts";
import { GOLDEN_DISTRO } from "../../services/host-agent/wsl/distro-layout.ts";
import { askApi } from "../../shared/bus/ask.ts";
import { hasDistros, isOurFake, WSL_PROGRAM } from "../support/fake-wsl.ts";
import { DEADLINE, type Host, type Task } from "../support/host.ts";
import { known, startWslMesh, treesIn, type WslMesh } from "../support/wsl-host.ts";

/** Deaf to every signal that may be ignored, with a daemon that has left it. */
const STUBBORN = `trap "" TERM HUP INT
(setsid sh -c 'trap "" TERM HUP; while :; do sleep 1; done' > /dev/null 2>&1 < /dev/null &)
while :; do sleep 1; done`;

describe.skipIf(!hasDistros)("a host with WSL2", () => {
  let wsl: WslMesh;
  let host: Host;
  beforeAll(async () => {
    vi.stubEnv("FAKE_WSL_LANGUAGE", "zh");
    wsl = await startWslMesh();
    host = await wsl.host();
  });
  afterAll(() => wsl[Symbol.asyncDispose]());

  /** It runs. */
  async function begin(command: string): Promise<Task> {
    const task = await wsl.submit(command);
    await task.run("h1");
    await vi.waitUntil(() => withArguments(command).length > 0, DEADLINE);
    return task;
  }

  async function succeed(command: string): Promise<Record<string, unknown>> {
    const task = await wsl.submit(command);
    await task.run("h1");
    return task.said("succeeded");
  }

  it("deploys a pull request in a distro, fetched with Windows' own credentials, and leaves nothing there", async () => {
    const task = await wsl.submit("cat feature.txt; echo changed > feature.txt", {
      checks: ["grep changed feature.txt"],
    });
    await task.run("h1");
    const said = await task.said("succeeded");
    expect(said).toMatchObject({ result: { exitCode: 0, checks: [{ verdict: "confirmed" }] } });
    expect(wsl.git.answers).toContain(401);
    expect(await wsl.mesh.heartbeat("h1")).toMatchObject({ isolation: "sandbox" });
    await vi.waitUntil(async () => (await treesIn(wsl)).length === 0, DEADLINE);
  });

  it("ends a cancelled attempt, however stubborn", async () => {
    const task = await begin(STUBBORN);
    expect(await askApi(wsl.mesh.bus, "cancel", { taskId: task.taskId })).toMatchObject({ ok: true });
    await task.said("cancelled");
    expect(withArguments(STUBBORN)).toEqual([]);
    await vi.waitUntil(async () => (await treesIn(wsl)).length === 0, DEADLINE);
  });

  it("takes output without an end of line, however much", async () => {
    expect(await succeed("head -c 200000000 /dev/zero")).toMatchObject({ result: { exitCode: 0 } });
  });

  const breaks: [string, () => unknown][] = [
    ["its owner shuts WSL down", () => execa(WSL_PROGRAM, ["--shutdown"])],
    ["its supervisor is killed", () => process.kill(known(wsl.supervisor(host)), "SIGKILL")],
    ["wsl.exe is killed", () => process.kill(known(wsl.wslExe(host)), "SIGKILL")],
    ["its owner terminates the distro", () => wsl.windows.wsl.terminate(GOLDEN_DISTRO)],
  ];
  if (isOurFake) breaks.push(["the virtual machine crashes", () => wsl.windows.happens("vm-crash")]);
  it.each(breaks)(
    "is of use again after %s, and its attempt ends as the host's fault",
    async (_, breakIt) => {
      const former = wsl.supervisor(host);
      const task = await begin(STUBBORN);
      await breakIt();
      expect(await task.said("faulted")).toMatchObject({ failure: { category: "host" } });
      expect(withArguments(STUBBORN)).toEqual([]);
      await vi.waitUntil(
        () => wsl.supervisor(host) !== undefined && wsl.supervisor(host) !== former,
        DEADLINE,
      );
      await succeed("true");
    },
  );

  it("that is killed takes everything along, and its next life goes on", async () => {
    const task = await begin(STUBBORN);
    host.process.kill("SIGKILL");
    await vi.waitUntil(
      () =>
        wsl.left(host).length === 0 &&
        wsl.supervisor(host) === undefined &&
        withArguments(STUBBORN).length === 0,
      DEADLINE,
    );
    host = await wsl.host();
    expect(await task.said("requeued")).toMatchObject({ reason: "lost" });
    await succeed("true");
  });

  it.runIf(isOurFake)(
    "says that it has nothing free while wsl.exe hangs, and begins once it answers",
    async () => {
      host.process.kill("SIGTERM");
      await host.exitCode;
      wsl.windows.faults({ hang: "" });
      host = await wsl.bareHost();
      const first = await wsl.mesh.heartbeat("h1");
      await vi.waitUntil(
        async () => ((await wsl.mesh.heartbeat("h1"))?.counter ?? 0) > (first?.counter ?? 0) + 2,
        DEADLINE,
      );
      expect(await wsl.mesh.heartbeat("h1")).toMatchObject({ slots: { free: 0 } });
      host.process.kill("SIGTERM");
      expect(await host.exitCode).toBe(0);
      await vi.waitUntil(() => wsl.hanging() === 0, DEADLINE);
      wsl.windows.faults({});
      host = await wsl.host();
      await succeed("true");
    },
  );

  it("leads an attempt that is kept to an allowlist out by its own frames, and nowhere else", async () => {
    host.process.kill("SIGTERM");
    await host.exitCode;
    const there = createServer((_request, response) => response.end("it is there")).listen(0, "127.0.0.1");
    await once(there, "listening");
    try {
      const at = `127.0.0.1:${(there.address() as AddressInfo).port}`;
      host = await wsl.host({ MESH_HOST_NETWORK: "allowlist", MESH_HOST_ALLOWED_HOSTS: at });
      expect(await wsl.mesh.heartbeat("h1")).toMatchObject({ networks: ["allowlist", "none"] });
      const asking = (place: string, wanted: string) =>
        `node -e 'require("http").get({ host: "127.0.0.1", port: 3128, path: "http://${place}/" }, async (answer) => {
          let text = ""; for await (const part of answer) text += part;
          process.exitCode = text.includes("${wanted}") ? 0 : 1; })'`;
      await succeed(`${asking(at, "it is there")} && ${asking("example.com", "is refused")}`);
    } finally {
      there.close();
    }
  });
});
