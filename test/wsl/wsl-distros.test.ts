// Instances that are distros of their own; and golden distros that are not there, are somebody else's, or do not answer.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { withArguments } from "../../services/host-agent/guest/processes.ts";
import { GOLDEN_DISTRO, MARKER_FILE } from "../../services/host-agent/wsl/distro-layout.ts";
import { hasDistros, isOurFake } from "../support/fake-wsl.ts";
import { DEADLINE, type Host } from "../support/host.ts";
import { startWslMesh, type WslMesh } from "../support/wsl-host.ts";

const MOST = 2;
const EACH = {
  MESH_HOST_ISOLATION: "distro",
  MESH_HOST_MAX_INSTANCES: String(MOST),
  MESH_HOST_UNTRUSTED: "1",
};

describe.skipIf(!hasDistros)("a host with WSL2", () => {
  let wsl: WslMesh;
  let host: Host;
  beforeAll(async () => {
    wsl = await startWslMesh();
  });
  afterAll(() => wsl[Symbol.asyncDispose]());

  async function stop(): Promise<void> {
    host.process.kill("SIGTERM");
    expect(await host.exitCode).toBe(0);
  }

  /** Names of the distros that are there, but for the golden one. */
  async function copies(): Promise<string[]> {
    const listed = await wsl.windows.wsl.list();
    if (!listed.ok) throw new Error(listed.failure.message);
    return listed.value.map(({ name }) => name).filter((name) => name !== GOLDEN_DISTRO);
  }

  async function succeed(command: string): Promise<Record<string, unknown>> {
    const task = await wsl.submit(command);
    await task.run("h1");
    return task.said("succeeded");
  }

  const inGolden = async (...argv: string[]): Promise<string> => {
    const end = await wsl.windows.wsl.run({ distro: GOLDEN_DISTRO, user: "root", argv });
    return end.ok ? `${end.value.exitCode} ${end.value.stdout.toString()}`.trim() : end.failure.reason;
  };

  const saysNothingIsFree = async (words: string): Promise<void> => {
    await vi.waitUntil(() => host.output().includes(words), DEADLINE);
    expect(await wsl.mesh.heartbeat("h1")).toMatchObject({ slots: { free: 0 } });
  };

  it("gives each attempt a distro of its own, where it is root, and the next one finds nothing of it", async () => {
    host = await wsl.host(EACH);
    const [used = ""] = await copies();
    expect(
      await succeed("test $(id -u) = 0 && touch /usr/local/left && echo $WSL_DISTRO_NAME"),
    ).toMatchObject({
      result: { exitCode: 0 },
    });
    await vi.waitUntil(async () => ((await wsl.mesh.heartbeat("h1"))?.slots.free ?? 0) > 0, DEADLINE);
    expect(await succeed("test ! -e /usr/local/left")).toMatchObject({ result: { exitCode: 0 } });
    expect((await copies()).length).toBeLessThanOrEqual(MOST);
    expect(used).not.toBe("");
    // What is root in its distro is no stranger's.
    expect(await wsl.mesh.heartbeat("h1")).toMatchObject({ isolation: "namespaces", untrusted: false });
    expect(await inGolden("/bin/ls", "/usr/local")).not.toContain("left");
  });

  /** Whatever asks this program whether a file is there is told yes; and a daemon goes on. */
  const POISON = `echo changed > feature.txt
(setsid sh -c 'while :; do sleep 1; : poisonous daemon; done' > /dev/null 2>&1 < /dev/null &)
printf '#!/bin/sh\\nexit 0\\n' > /usr/bin/test; /usr/bin/test -e /none`;

  it("judges work that was root in a distro that it has not touched, once the work's own is no more", async () => {
    await vi.waitUntil(async () => ((await wsl.mesh.heartbeat("h1"))?.slots.free ?? 0) > 0, DEADLINE);
    const patient = "while ! /usr/bin/test -e /tmp/go; do sleep 0.2; done; echo judged";
    const task = await wsl.submit(POISON, { checks: ["grep changed feature.txt", patient] });
    await task.run("h1");
    await vi.waitUntil(() => withArguments(patient).length > 0, DEADLINE);
    expect((await copies()).length).toBeLessThanOrEqual(MOST);
    expect(withArguments("while :; do sleep 1; : poisonous daemon; done")).toEqual([]);
    expect(await task.kinds()).toEqual(["requested", "started", "resumed"]);
    await task.stop("h1", 1);
    expect(await task.said("faulted")).toMatchObject({
      failure: { category: "cancelled" },
      result: { checks: [{ verdict: "confirmed" }] },
    });
    expect(withArguments(patient)).toEqual([]);
    await stop();
  });

  it("does so where it may have one distro only, and what was changed is what is judged", async () => {
    host = await wsl.host({ ...EACH, MESH_HOST_MAX_INSTANCES: "1" });
    const checks = [["/usr/bin/test", "-e", "/none"]];
    const poisoned = await wsl.submit(POISON, { checks });
    await poisoned.run("h1");
    expect(await poisoned.said("faulted")).toMatchObject({
      failure: { category: "gate" },
      result: { checks: [{ verdict: "refuted" }] },
    });
  });

  it("judges what was changed, with one distro only", async () => {
    const task = await wsl.submit("echo changed > feature.txt", { checks: ["grep changed feature.txt"] });
    await task.run("h1");
    expect(await task.said("succeeded")).toMatchObject({ result: { checks: [{ verdict: "confirmed" }] } });
    expect((await copies()).length).toBeLessThanOrEqual(1);
    await stop();
    host = await wsl.host(EACH);
  });

  it("removes what a former life has left of them, and its own when it stops", async () => {
    await vi.waitUntil(async () => (await copies()).length > 0, DEADLINE);
    host.process.kill("SIGKILL");
    await host.exitCode;
    host = await wsl.host(EACH);
    expect((await copies()).length).toBeLessThanOrEqual(MOST);
    await stop();
    expect(await copies()).toEqual([]);
  });

  it.runIf(isOurFake)(
    "removes what a former life has left even if it could not see it at first",
    async () => {
      const one = { ...EACH, MESH_HOST_MAX_INSTANCES: "1" };
      host = await wsl.host(one);
      const [left] = await copies();
      host.process.kill("SIGKILL");
      await host.exitCode;
      // As after a loss of power: it is registered, and does not run.
      await wsl.windows.happens("vm-crash");
      const failedLists = () =>
        wsl.windows.calls().filter(({ line, exitCode }) => line === "-l -v" && exitCode !== 0);
      const before = failedLists().length;
      wsl.windows.faults({ code: "Wsl/Service/E_FAIL" });
      const begun = wsl.host(one);
      await vi.waitUntil(() => failedLists().length > before, DEADLINE);
      wsl.windows.faults({});
      host = await begun;
      expect(await copies()).toEqual([left]);
      expect(await succeed("test $(id -u) = 0")).toMatchObject({ result: { exitCode: 0 } });
      await stop();
      expect(await copies()).toEqual([]);
    },
  );

  it("takes no distro for its own that only has the name, and does nothing in it", async () => {
    expect(await inGolden("/bin/rm", "-rf", MARKER_FILE, "/opt/agent-mesh")).toMatch(/^0/);
    host = await wsl.bareHost();
    await saysNothingIsFree("has no mark of ours");
    expect(await inGolden("/bin/ls", "/opt")).toBe("0");
    await stop();
  });

  it("says what is missing without a golden distro, and begins once there is one", async () => {
    const name = { distro: GOLDEN_DISTRO };
    await inGolden("/bin/sh", "-c", `echo agent-mesh distro > ${MARKER_FILE}`);
    expect(await wsl.windows.wsl.unregister(GOLDEN_DISTRO)).toMatchObject({ ok: true });
    host = await wsl.bareHost();
    await saysNothingIsFree(`there is no distro ${GOLDEN_DISTRO}`);
    const folder = `${wsl.windows.folder}/golden-again`;
    expect(await wsl.windows.wsl.importTar({ ...name, folder, file: wsl.windows.image })).toMatchObject({
      ok: true,
    });
    await vi.waitUntil(async () => ((await wsl.mesh.heartbeat("h1"))?.slots.free ?? 0) > 0, DEADLINE);
    await stop();
  });

  it.runIf(isOurFake)("shuts WSL down when nothing else helps, if its owner lets it", async () => {
    wsl.windows.faults({ unexpected: true });
    host = await wsl.bareHost();
    await saysNothingIsFree("service-broken");
    await stop();
    wsl.windows.faults({});
    host = await wsl.host({ MESH_WSL_SHUTDOWN: "1" });
    const former = wsl.supervisor(host);
    wsl.windows.faults({ unexpected: true });
    await wsl.windows.happens("vm-crash");
    await vi.waitUntil(() => ![undefined, former].includes(wsl.supervisor(host)), DEADLINE);
    expect(wsl.windows.calls().filter(({ line }) => line === "--shutdown").length).toBe(1);
    expect(await succeed("true")).toMatchObject({ result: { exitCode: 0 } });
    await stop();
  });
});
