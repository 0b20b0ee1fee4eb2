// The guest supervisor in a real guest, as root, with all that a machine with systemd and control groups of version 2
// gives: what no container and no fake has. It runs there (`npm run test:vm`), with nothing but Node.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { cgroupTag } from "../../../services/host-agent/guest/state.ts";
import { DISTRO_USER } from "../../../services/host-agent/wsl/distro-layout.ts";
import { startSupervisor, type TestSupervisor } from "../../support/supervisor.ts";
import { until } from "../../support/until.ts";

const HELD = { memory: "control-group", processes: "control-group", cpus: "control-group" };
const MEBIBYTE = 1_048_576;
/** Emulated, and beside other work, all of this may take minutes. */
const PATIENT = { leaseMs: 3_600_000, checkMs: 100 };
const ROOT = "/sys/fs/cgroup";
const ACT = "while :; do echo act >> acts; sleep 0.2; done";
/** Leaves parent and session behind twice, and is deaf to whatever can be ignored. */
const DAEMON = `trap '' TERM HUP INT; (setsid sh -c "(setsid sh -c '${ACT}' &)" &) < /dev/null > /dev/null 2>&1;`;

const acts = ({ folder }: TestSupervisor): number => {
  const file = path.join(folder, "acts");
  return existsSync(file) ? readFileSync(file).length : 0;
};

function untilActs(supervisor: TestSupervisor): Promise<boolean> {
  const before = acts(supervisor);
  return until(() => acts(supervisor) > before);
}

const groupOf = (pid: number | "self"): string =>
  readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().replace("0::", "");
const tagOf = ({ folder }: TestSupervisor): string => cgroupTag(path.join(folder, "state"));
const read = (group: string, file: string): string =>
  readFileSync(path.join(ROOT, group, file), "utf8").trim();
/** Of attempts, wherever they may lie below the top or this process's own group. */
const groupsLeft = (supervisor: TestSupervisor): string[] =>
  readdirSync(ROOT, { recursive: true, encoding: "utf8" }).filter((name) => name.includes(tagOf(supervisor)));

describe("a supervisor in a service of systemd's", () => {
  let supervisor: TestSupervisor;
  let stretch: string;
  before(async () => {
    supervisor = await startSupervisor(PATIENT);
    stretch = await supervisor.lease();
  });
  after(async () => {
    await supervisor[Symbol.asyncDispose]();
    assert.deepEqual(groupsLeft(supervisor), []);
  });

  it("gives a command a network of its own, with a door at its port and nothing else", async () => {
    assert.equal(supervisor.link.hello.ownNetwork, true);
    supervisor.link.onStream((_attempt, _door, stream) => stream.pipe(stream));
    const speak = `const at = (port, host) => new Promise((done) => { const s = require("net").connect(port, host, () => s.end("echo"));
      let t = ""; s.on("data", (d) => { t += d; }); s.on("error", (e) => done(e.code)); s.on("close", () => done(t)); });
      at(3128, "127.0.0.1").then(async (said) => console.log(said, await at(80, "192.0.2.1")));`;
    const command = supervisor.exec(`/srv/mesh/node -e '${speak}'`, {
      ...{ stretch, attempt: "networked", network: "own" },
      doors: [{ name: "echo", port: 3_128 }],
    });
    const { exitCode } = await command.finished;
    assert.deepEqual({ exitCode, said: command.stdout() }, { exitCode: 0, said: "echo ENETUNREACH\n" });
  });

  it("has everything: a sandbox, the freezer, and each limit", () => {
    const { isolation, freezer, limits } = supervisor.link.hello;
    assert.deepEqual(
      { isolation, freezer, limits },
      { isolation: "sandbox", freezer: "cgroup-v2", limits: HELD },
    );
  });

  it("stops a memory hog at its limit, with its peak, while the neighbour finishes", async () => {
    const limits = { memoryBytes: 64 * MEBIBYTE };
    const neighbour = supervisor.exec(
      "kept=$(head -c 8000000 /dev/zero | tr '\\0' a); read line; echo $line",
      {
        attempt: "neighbour",
        stretch,
        limits,
        stdin: "pipe",
      },
    );
    const hog = supervisor.exec(`${DAEMON} head -c 300000000 /dev/zero | tail -c 290000000 | wc -c`, {
      attempt: "hog",
      stretch,
      limits,
    });
    const { cause, peakMemoryBytes = 0 } = await hog.finished;
    assert.equal(cause, "out-of-memory");
    assert.ok(peakMemoryBytes > limits.memoryBytes / 2 && peakMemoryBytes <= limits.memoryBytes);
    neighbour.write("finished\n");
    const exit = await neighbour.finished;
    assert.deepEqual([exit.exitCode, exit.cause], [0, "exited"]);
    assert.equal(neighbour.stdout(), "finished\n");
    assert.deepEqual(supervisor.commands(), []);
  });

  it("stops a fork bomb at its limit, while the neighbour works on", async () => {
    const neighbour = supervisor.exec("read line; (echo $line)", {
      attempt: "neighbour",
      stretch,
      stdin: "pipe",
    });
    const bomb = supervisor.exec("bomb() { bomb | bomb & }; bomb; sleep 600", {
      attempt: "bomb",
      stretch,
      limits: { processes: 200 },
    });
    assert.equal((await bomb.finished).cause, "too-many-processes");
    neighbour.write("worked\n");
    assert.equal((await neighbour.finished).exitCode, 0);
    assert.equal(neighbour.stdout(), "worked\n");
    assert.deepEqual(supervisor.commands(), []);
  });

  it("gives no more CPU time than it may", async () => {
    const cpus = 0.3;
    const spin = supervisor.exec("for each in 1 2; do (while :; do :; done) & done; read line", {
      attempt: "spin",
      stretch,
      limits: { cpus },
      stdin: "pipe",
    });
    const group = path.join(tagOf(supervisor), "spin");
    await until(() => existsSync(path.join(ROOT, group, "cpu.stat")));
    const used = (): number => Number(/^usage_usec (\d+)$/m.exec(read(group, "cpu.stat"))?.[1]) / 1_000;
    const throttled = (): number => Number(/^nr_throttled (\d+)$/m.exec(read(group, "cpu.stat"))?.[1]);
    await until(() => throttled() > 2);
    const began = { atMs: performance.now(), usedMs: used() };
    await until(() => performance.now() - began.atMs > 2_000);
    const share = (used() - began.usedMs) / (performance.now() - began.atMs);
    await supervisor.link.kill("spin");
    // A quota is kept in periods of 100 ms.
    assert.ok(share > 0 && share < cpus * 1.5, `it had ${share} of a core`);
    assert.equal((await spin.finished).cause, "killed");
  });

  it("lies outside the groups of what it runs, and keeps their limits whatever systemd does", async () => {
    const limits = { memoryBytes: 64 * MEBIBYTE, cpus: 1.5, processes: 100 };
    const command = supervisor.exec("echo ready; read line", {
      attempt: "placed",
      stretch,
      limits,
      stdin: "pipe",
    });
    await until(() => command.stdout() !== "");
    const group = `/${tagOf(supervisor)}/placed`;
    assert.deepEqual(new Set(supervisor.commands().map(groupOf)), new Set([group]));
    assert.equal(groupOf(supervisor.pid), groupOf("self"));
    execFileSync("systemctl", ["daemon-reload"]);
    const property = ["--property", "MemoryMax=64M", "--property", "CPUQuota=50%"];
    execFileSync("systemd-run", ["--quiet", "--wait", ...property, "true"]);
    assert.deepEqual(
      ["memory.max", "memory.oom.group", "cpu.max", "pids.max"].map((file) => read(group, file)),
      [String(limits.memoryBytes), "1", "150000 100000", "100"],
    );
    command.endStdin();
    assert.equal((await command.finished).cause, "exited");
  });

  it("freezes by the control group, and lets go on", async () => {
    supervisor.exec(`${DAEMON} ${ACT}`, { attempt: "frozen", stretch });
    await untilActs(supervisor);
    supervisor.link.freeze();
    await until(() => supervisor.frozen.includes("frozen"));
    await until(() => read(path.join(tagOf(supervisor), "frozen"), "cgroup.events").includes("frozen 1"));
    const before = acts(supervisor);
    await supervisor.looks(4);
    assert.equal(acts(supervisor), before);
    const { monotonicMs } = await supervisor.stamp();
    await until(() => (supervisor.link.latestTick()?.stamp.monotonicMs ?? 0) > monotonicMs);
    stretch = await supervisor.lease();
    assert.equal(await supervisor.link.thaw("frozen", stretch), "thawed");
    await untilActs(supervisor);
    await supervisor.link.kill("frozen");
    assert.deepEqual(supervisor.commands(), []);
  });

  it("leaves nothing of a command that ends, whatever that has started", async () => {
    const command = supervisor.exec(`${DAEMON} sleep 0.2; echo done`, { attempt: "parent", stretch });
    assert.equal((await command.finished).exitCode, 0);
    assert.deepEqual(supervisor.commands(), []);
  });

  it("gives each attempt a user of its own, without power, who reads no secret of the machine", async () => {
    const script =
      "id -u; grep -h CapEff /proc/self/status; cat /etc/shadow; kill -9 -1; ls /proc | grep -c ^[0-9]";
    const users = await Promise.all(
      ["one", "other"].map(async (attempt) => {
        const command = supervisor.exec(script, { attempt, stretch });
        await command.finished;
        const [user, powers, seen] = command.stdout().trim().split("\n");
        assert.match(powers ?? "", /0{16}$/);
        assert.match(command.stderr(), /shadow/);
        assert.ok(Number(seen) < 10);
        return Number(user);
      }),
    );
    assert.ok(users.every((user) => user >= 0x7000_0000));
    assert.notEqual(users[0], users[1]);
  });
});

describe("a supervisor that ends", () => {
  it("with its stdin takes everything along, and its groups", async () => {
    await using supervisor = await startSupervisor(PATIENT);
    supervisor.exec(`${DAEMON} ${ACT}`, { stretch: await supervisor.lease() });
    await untilActs(supervisor);
    await supervisor.link[Symbol.asyncDispose]();
    assert.deepEqual(supervisor.commands(), []);
    assert.deepEqual(groupsLeft(supervisor), []);
  });

  it("by kill -9, its watchdog too, is followed by everything it started, running or frozen", async () => {
    await using supervisor = await startSupervisor({ ...PATIENT, leaveLeftovers: true });
    const stretch = await supervisor.lease();
    supervisor.exec(`${DAEMON} ${ACT}`, { attempt: "running", stretch });
    await untilActs(supervisor);
    supervisor.link.freeze();
    await until(() => supervisor.frozen.length > 0);
    for (const pid of supervisor.own()) process.kill(pid, "SIGKILL");
    await until(() => supervisor.commands().length === 0);
  });
});

describe("a supervisor where wsl.exe begins it, outside of all that systemd keeps", () => {
  it("has every limit as well", async () => {
    const through = ["sh", "-c", `echo $$ > ${ROOT}/cgroup.procs && exec "$@"`, "sh"];
    await using supervisor = await startSupervisor({ ...PATIENT, through });
    assert.equal(groupOf(supervisor.pid), "/");
    const { limits, freezer } = supervisor.link.hello;
    assert.deepEqual({ limits, freezer }, { limits: HELD, freezer: "cgroup-v2" });
    const hog = supervisor.exec("head -c 300000000 /dev/zero | tail -c 290000000 | wc -c", {
      stretch: await supervisor.lease(),
      limits: { memoryBytes: 64 * MEBIBYTE },
    });
    assert.equal((await hog.finished).cause, "out-of-memory");
  });
});

describe("a supervisor as the user of a distro, without root", () => {
  it("keeps attempts in a sandbox, and stops a memory hog by looking at it", async () => {
    execFileSync("useradd", ["--create-home", "--user-group", DISTRO_USER]);
    const through = ["setpriv", `--reuid=${DISTRO_USER}`, `--regid=${DISTRO_USER}`, "--init-groups", "--"];
    await using supervisor = await startSupervisor({ ...PATIENT, through });
    const { isolation, limits } = supervisor.link.hello;
    assert.deepEqual({ isolation, memory: limits.memory }, { isolation: "sandbox", memory: "watched" });
    const hog = supervisor.exec("(head -c 200000000 /dev/zero; sleep 600) | tail -c 190000000", {
      stretch: await supervisor.lease(),
      limits: { memoryBytes: 64 * MEBIBYTE },
    });
    assert.equal((await hog.finished).cause, "out-of-memory");
    assert.deepEqual(supervisor.commands(), []);
  });
});
