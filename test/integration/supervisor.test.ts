// The guest supervisor as a process: what it runs, under which lease, and that nothing outlives what it should not.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { getPriority, tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it, vi } from "vitest";
import type { Stamp } from "../../services/host-agent/guest/lease.ts";
import { withArguments } from "../../services/host-agent/guest/processes.ts";
import {
  encodeControl,
  encodeData,
  FrameDecoder,
  type FromGuest,
  PROTOCOL_VERSION,
  type ToGuest,
} from "../../services/host-agent/guest/protocol.ts";
import { localSupervisorCommand } from "../../services/host-agent/supervisor/supervisor-command.ts";
import { encodeLine } from "../../services/host-agent/workspace/wire.ts";
import { isAlive } from "../support/nats.ts";
import {
  DEADLINE,
  MODES,
  placedIn,
  startSupervisor,
  type TestSupervisor,
  WITHOUT_LIMITS,
} from "../support/supervisor.ts";

/** As `statfs` names a file system in memory. */
const TMPFS = 0x01021994;
/** Writes a line into `acts` for as long as it may run. */
const ACT = "while :; do echo act >> acts; sleep 0.01; done";
/** The same from a daemon that has left its parent, its session and its output behind. */
const DAEMON = `setsid sh -c '${ACT}' > /dev/null 2>&1 < /dev/null & sleep 0.01; echo begun;`;

type Acting = Pick<TestSupervisor, "folder">;

const acts = ({ folder }: Acting): number => {
  const file = path.join(folder, "acts");
  return existsSync(file) ? readFileSync(file).length : 0;
};

const untilActs = async (supervisor: Acting): Promise<void> => {
  const before = acts(supervisor);
  await vi.waitUntil(() => acts(supervisor) > before, DEADLINE);
};

/** Whether anything has acted while the supervisor looked at its lease several times. */
async function standsStill(supervisor: TestSupervisor): Promise<boolean> {
  // What was being written when it froze is over by the first.
  await supervisor.looks(1);
  const before = acts(supervisor);
  await supervisor.looks(4);
  return acts(supervisor) === before;
}

/** Waits until nothing has acted for many times as long as an act takes: for when there is no supervisor to ask. */
async function untilStill(supervisor: Acting): Promise<void> {
  let last = -1;
  let unchanged = 0;
  await vi.waitUntil(() => {
    const now = acts(supervisor);
    unchanged = now === last ? unchanged + 1 : 0;
    last = now;
    return unchanged >= 20;
  }, DEADLINE);
}

/** A stamp that was taken after this was asked for. */
async function newStamp(supervisor: TestSupervisor): Promise<Stamp> {
  await supervisor.looks(2);
  return supervisor.stamp();
}

describe.concurrent.each(MODES)("a supervisor $mode", ({ through, isolation, freezer }) => {
  it("ends a program of its own that has hung, with all that it has started", async () => {
    await using supervisor = await startSupervisor();
    const folder = path.join(supervisor.folder, "workspaces");
    let said = "";
    const program = supervisor.link.serve(["workspaces", "--folder", folder], (_, bytes) => {
      said += bytes.toString();
    });
    program.write(encodeLine({ id: 1, call: "readings" }));
    await vi.waitUntil(() => said.includes('"id":1'), DEADLINE);
    const [pid = 0] = withArguments("workspaces", "--folder", folder);
    process.kill(pid, "SIGSTOP");
    program.signal("SIGKILL");
    expect(await program.finished).toMatchObject({ cause: "exited", signal: "SIGKILL" });
    expect(withArguments("workspaces", "--folder", folder)).toEqual([]);
  });

  it("says what it can do, and gives back output, exit code and time", async () => {
    await using supervisor = await startSupervisor({ through });
    expect(supervisor.link.hello.protocol).toBe(PROTOCOL_VERSION);
    if (isolation !== undefined) expect(supervisor.link.hello.isolation).toBe(isolation);
    if (freezer !== undefined) expect(supervisor.link.hello.freezer).toMatch(freezer);
    const stretch = await supervisor.lease();
    const command = supervisor.exec("echo out; echo err >&2; exit 3", { stretch });
    expect(await command.finished).toMatchObject({ exitCode: 3, signal: null, cause: "exited" });
    expect(command.stdout()).toBe("out\n");
    expect(command.stderr()).toBe("err\n");
  });

  it("freezes the whole tree without a lease, and lets it go on under a new one", async () => {
    await using supervisor = await startSupervisor({ through });
    const command = supervisor.exec(`${DAEMON} ${ACT}`, { stretch: await supervisor.lease() });
    await vi.waitUntil(() => command.stdout() === "begun\n", DEADLINE);
    await untilActs(supervisor);
    supervisor.link.freeze();
    await vi.waitUntil(() => supervisor.frozen.length > 0, DEADLINE);
    expect(supervisor.frozen).toEqual(["a"]);
    expect(await standsStill(supervisor)).toBe(true);
    const stretch = await supervisor.lease(await newStamp(supervisor));
    expect(await standsStill(supervisor)).toBe(true);
    expect(await supervisor.link.thaw("a", stretch)).toBe("thawed");
    await untilActs(supervisor);
  });

  it("ends daemons with the command that started them", async () => {
    await using supervisor = await startSupervisor({ through });
    const command = supervisor.exec(`${DAEMON} exit 0`, { stretch: await supervisor.lease() });
    expect(await command.finished).toMatchObject({ exitCode: 0 });
    await vi.waitUntil(() => supervisor.commands().length === 0, DEADLINE);
  });

  it("ends with a command nothing that another one of its attempt starts in that moment", async () => {
    await using supervisor = await startSupervisor({ through });
    const stretch = await supervisor.lease();
    const busy = supervisor.exec("while [ ! -e enough ]; do sleep 0.005 || echo died $?; done; echo done", {
      stretch,
    });
    for (let ended = 0; ended < 6; ended++)
      expect(await supervisor.exec(DAEMON, { stretch }).finished).toMatchObject({ exitCode: 0 });
    await supervisor.exec(": > enough", { stretch }).finished;
    await busy.finished;
    expect(busy.stdout()).toBe("done\n");
  });

  it("ends the whole tree of an attempt that is killed, running or frozen", async () => {
    await using supervisor = await startSupervisor({ through });
    const stretch = await supervisor.lease();
    const running = supervisor.exec(`${DAEMON} ${ACT}`, { stretch, killGraceMs: 100 });
    await untilActs(supervisor);
    await supervisor.link.kill("a");
    expect(supervisor.commands()).toEqual([]);
    expect(await running.finished).toMatchObject({ cause: "killed" });

    const frozen = supervisor.exec(`${DAEMON} ${ACT}`, { stretch, attempt: "b" });
    await untilActs(supervisor);
    supervisor.link.freeze();
    await vi.waitUntil(() => supervisor.frozen.includes("b"), DEADLINE);
    await supervisor.link.kill("b");
    expect(supervisor.commands()).toEqual([]);
    expect(await frozen.finished).toMatchObject({ cause: "killed" });
  });

  it("ends everything when its stdin closes", async () => {
    await using supervisor = await startSupervisor({ through });
    const command = supervisor.exec(`trap '' TERM; ${DAEMON} ${ACT}`, { stretch: await supervisor.lease() });
    await untilActs(supervisor);
    await supervisor.link[Symbol.asyncDispose]();
    expect(supervisor.commands()).toEqual([]);
    // The last frame may or may not get through.
    expect((await command.finished).cause).toMatch(/^(killed|supervisor-died)$/);
    expect(await isAlive(supervisor.pid)).toBe(false);
  });

  it("is followed by everything it started when it is killed", async () => {
    await using supervisor = await startSupervisor({ through, leaveLeftovers: true });
    supervisor.exec(`${DAEMON} ${ACT}`, { stretch: await supervisor.lease() });
    await untilActs(supervisor);
    process.kill(supervisor.pid, "SIGKILL");
    await vi.waitFor(() => expect(supervisor.commands()).toEqual([]), DEADLINE);
  });

  it("that was killed counts as the end of a command only once that is gone", async () => {
    await using supervisor = await startSupervisor({ through });
    const command = supervisor.exec(`${DAEMON} ${ACT}`, { stretch: await supervisor.lease() });
    await untilActs(supervisor);
    process.kill(supervisor.pid, "SIGKILL");
    expect(await command.finished).toMatchObject({ cause: "supervisor-died" });
    expect(supervisor.commands()).toEqual([]);
    await supervisor.link.kill("a");
  });

  it("is followed by its trees when it is killed while they are frozen", async () => {
    await using supervisor = await startSupervisor({ through, leaveLeftovers: true });
    supervisor.exec(`${DAEMON} ${ACT}`, { stretch: await supervisor.lease() });
    await untilActs(supervisor);
    supervisor.link.freeze();
    await vi.waitUntil(() => supervisor.frozen.length > 0, DEADLINE);
    process.kill(supervisor.pid, "SIGKILL");
    await vi.waitFor(() => expect(supervisor.commands()).toEqual([]), DEADLINE);
  });

  it("has its trees frozen at the end of the lease while it is stopped, and goes on with them afterwards", async () => {
    await using supervisor = await startSupervisor({ through, leaseMs: 5_000 });
    supervisor.exec(`${DAEMON} ${ACT}`, { stretch: await supervisor.lease() });
    await untilActs(supervisor);
    process.kill(supervisor.pid, "SIGSTOP");
    try {
      await untilStill(supervisor);
    } finally {
      process.kill(supervisor.pid, "SIGCONT");
    }
    await vi.waitUntil(() => supervisor.frozen.length > 0, DEADLINE);
    expect(await standsStill(supervisor)).toBe(true);
    const stretch = await supervisor.lease(await newStamp(supervisor));
    expect(await supervisor.link.thaw("a", stretch)).toBe("thawed");
    await untilActs(supervisor);
  });
});

describe("the lease", () => {
  it("lets nothing begin before there is one, whatever stretch is named", async () => {
    await using supervisor = await startSupervisor();
    const command = supervisor.exec("echo ran > acts", { stretch: "made-up" });
    await vi.waitUntil(() => supervisor.frozen.length > 0, DEADLINE);
    expect(await supervisor.link.thaw("a", "made-up")).toBe("frozen");
    expect(acts(supervisor)).toBe(0);
    expect(await supervisor.link.thaw("a", await supervisor.lease())).toBe("thawed");
    expect(await command.finished).toMatchObject({ exitCode: 0 });
    expect(acts(supervisor)).toBeGreaterThan(0);
  });

  it("ends its length after the stamp was taken, whenever that came back", async () => {
    await using supervisor = await startSupervisor({ leaseMs: 2_000 });
    const stamp = await supervisor.stamp();
    await supervisor.lease(stamp);
    supervisor.link.renewLease(stamp);
    await supervisor.lapse();
    supervisor.link.renewLease(stamp);
    await supervisor.looks(2);
    expect(supervisor.link.latestTick()?.stretch).toBeNull();
  });

  it("that lapsed and came back is a new stretch: what ran under the old one is frozen", async () => {
    await using supervisor = await startSupervisor();
    const stretch = await supervisor.lease();
    supervisor.exec(ACT, { stretch });
    await untilActs(supervisor);
    // Stopped, it hears both at once, and no look falls between them. The stamp is the first that will do.
    process.kill(supervisor.pid, "SIGSTOP");
    const stamp = await supervisor.stamp();
    supervisor.link.freeze();
    supervisor.link.renewLease({ ...stamp, monotonicMs: stamp.monotonicMs + 3_600_000 });
    process.kill(supervisor.pid, "SIGCONT");
    const next = await vi.waitUntil(() => {
      const now = supervisor.link.latestTick()?.stretch;
      return now === stretch ? null : now;
    }, DEADLINE);
    await vi.waitUntil(() => supervisor.frozen.length > 0, DEADLINE);
    expect(await standsStill(supervisor)).toBe(true);
    expect(await supervisor.link.thaw("a", stretch)).toBe("frozen");
    expect(await supervisor.link.thaw("a", next)).toBe("thawed");
    await untilActs(supervisor);
  });

  it("begins again only with a stamp taken after the host has said that the machine slept", async () => {
    await using supervisor = await startSupervisor();
    const stamp = await supervisor.stamp();
    await supervisor.lease(stamp);
    supervisor.link.freeze();
    await supervisor.lapse();
    supervisor.link.renewLease(stamp);
    await supervisor.looks(2);
    expect(supervisor.link.latestTick()?.stretch).toBeNull();
    await supervisor.lease();
  });

  it("keeps a process asked for under an older stretch, and what runs beside it, frozen", async () => {
    await using supervisor = await startSupervisor();
    supervisor.exec(ACT, { stretch: await supervisor.lease() });
    await untilActs(supervisor);
    const second = supervisor.exec("echo second", { stretch: "an-older-one" });
    await vi.waitUntil(() => supervisor.frozen.length > 0, DEADLINE);
    expect(await standsStill(supervisor)).toBe(true);
    expect(second.stdout()).toBe("");
  });

  it("that is refused to an attempt does not keep another one from running", async () => {
    await using supervisor = await startSupervisor();
    const stretch = await supervisor.lease();
    supervisor.exec("echo first", { attempt: "first", stretch: "an-older-one" });
    const other = supervisor.exec("echo other", { attempt: "other", stretch });
    expect(await other.finished).toMatchObject({ exitCode: 0 });
    expect(supervisor.frozen).toEqual(["first"]);
  });

  it("is answered for an attempt that is gone, or never was", async () => {
    await using supervisor = await startSupervisor();
    expect(await supervisor.link.thaw("nobody", await supervisor.lease())).toBe("gone");
  });

  it.each(["timeoutMs", "silenceMs"] as const)(
    "that is away costs a command nothing of its %s",
    async (limit) => {
      await using supervisor = await startSupervisor();
      const timeoutMs = 2_000;
      const command = supervisor.exec("echo begun; read line", {
        stretch: await supervisor.lease(),
        stdin: "pipe",
        [limit]: timeoutMs,
      });
      await vi.waitUntil(() => command.stdout() !== "", DEADLINE);
      supervisor.link.freeze();
      await vi.waitUntil(() => supervisor.frozen.length > 0, DEADLINE);
      const frozenAtMs = performance.now();
      await vi.waitUntil(() => performance.now() - frozenAtMs > timeoutMs, DEADLINE);
      await supervisor.link.thaw("a", await supervisor.lease(await newStamp(supervisor)));
      command.write("go\n");
      const exit = await command.finished;
      expect(exit).toMatchObject({ cause: "exited", exitCode: 0 });
      expect(exit.durationMs).toBeLessThan(timeoutMs);
    },
  );

  it("that is away when a command is asked for has it begin later, with all that its stdin was given", async () => {
    await using supervisor = await startSupervisor();
    const stretch = await supervisor.lease();
    supervisor.link.freeze();
    const command = supervisor.exec("cat; echo done", { stretch, stdin: "pipe" });
    command.write("one\n");
    command.write("two\n");
    command.endStdin();
    await vi.waitUntil(() => supervisor.frozen.length > 0, DEADLINE);
    await supervisor.link.thaw("a", await supervisor.lease(await newStamp(supervisor)));
    expect(await command.finished).toMatchObject({ cause: "exited", exitCode: 0 });
    expect(command.stdout()).toBe("one\ntwo\ndone\n");
  });

  it("that stays away for too long ends what is frozen", async () => {
    await using supervisor = await startSupervisor({ frozenLimitMs: 300 });
    const command = supervisor.exec(`${DAEMON} ${ACT}`, { stretch: await supervisor.lease() });
    await untilActs(supervisor);
    supervisor.link.freeze();
    expect(await command.finished).toMatchObject({ cause: "frozen-too-long" });
    expect(supervisor.commands()).toEqual([]);
  });
});

describe("a command", () => {
  it("ends at its time-out, by SIGKILL if it does not care for SIGTERM", async () => {
    await using supervisor = await startSupervisor();
    const stretch = await supervisor.lease();
    const polite = supervisor.exec("trap 'echo bye; exit 0' TERM; echo begun; while :; do sleep 0.01; done", {
      stretch,
      timeoutMs: 500,
      killGraceMs: 60_000,
    });
    const deaf = supervisor.exec("trap '' TERM; echo begun; while :; do sleep 0.01; done", {
      stretch,
      timeoutMs: 500,
      killGraceMs: 100,
    });
    expect(await polite.finished).toMatchObject({ cause: "timeout" });
    expect(polite.stdout()).toBe("begun\nbye\n");
    expect(await deaf.finished).toMatchObject({ cause: "timeout" });
    expect(deaf.stdout()).toBe("begun\n");
    expect(supervisor.commands()).toEqual([]);
  });

  it("ends once it has been silent for too long, and not while it says anything", async () => {
    await using supervisor = await startSupervisor();
    const command = supervisor.exec("for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done; sleep 60", {
      stretch: await supervisor.lease(),
      silenceMs: 2_500,
    });
    expect(await command.finished).toMatchObject({ cause: "silent" });
    expect(command.stdout()).toBe("1\n2\n3\n4\n5\n6\n");
  });

  it("is asked to end by each of its signals in turn before it is killed", async () => {
    await using supervisor = await startSupervisor();
    const command = supervisor.exec(
      "trap 'echo int' INT; trap 'echo term' TERM; echo begun; while :; do sleep 0.01; done",
      { stretch: await supervisor.lease(), stopSignals: ["SIGINT", "SIGTERM"], killGraceMs: 300 },
    );
    await vi.waitUntil(() => command.stdout() !== "", DEADLINE);
    await supervisor.link.kill("a");
    expect(await command.finished).toMatchObject({ cause: "killed" });
    expect(command.stdout()).toBe("begun\nint\nterm\n");
    expect(supervisor.commands()).toEqual([]);
  });

  it("is heard while it runs, and hears its stdin, the end of that, and signals", async () => {
    await using supervisor = await startSupervisor();
    const command = supervisor.exec(
      "read line; echo $line; cat; trap 'echo hup; exit 4' HUP; echo ready; while :; do sleep 0.01; done",
      { stretch: await supervisor.lease(), stdin: "pipe" },
    );
    command.write("one\n");
    await vi.waitUntil(() => command.stdout() === "one\n", DEADLINE);
    command.write("two\n");
    command.endStdin();
    await vi.waitUntil(() => command.stdout() === "one\ntwo\nready\n", DEADLINE);
    command.signal("SIGHUP");
    expect(await command.finished).toMatchObject({ exitCode: 4 });
    expect(command.stdout()).toBe("one\ntwo\nready\nhup\n");
  });

  it("loses nothing of a long output", async () => {
    await using supervisor = await startSupervisor();
    const bytes = 20_000_000;
    const command = supervisor.exec(`head -c ${bytes} /dev/zero`, { stretch: await supervisor.lease() });
    expect(await command.finished).toMatchObject({ exitCode: 0 });
    expect(command.stdout().length).toBe(bytes);
  });

  it("that cannot be started says so", async () => {
    await using supervisor = await startSupervisor();
    const stretch = await supervisor.lease();
    const missing = supervisor.exec("", { argv: ["/no/such/program"], stretch });
    expect(await missing.finished).toMatchObject({ exitCode: 127, cause: "exited" });
    const nowhere = supervisor.exec("true", { cwd: "/no/such/folder", stretch });
    expect((await nowhere.finished).exitCode).not.toBe(0);
  });

  it("runs at ordinary priority, below its supervisor's", async () => {
    await using supervisor = await startSupervisor();
    const command = supervisor.exec("nice", { stretch: await supervisor.lease() });
    await command.finished;
    expect(Number(command.stdout())).toBe(getPriority());
    if (process.getuid?.() === 0) expect(getPriority(supervisor.pid)).toBeLessThan(getPriority());
  });

  it("inherits nothing of the host's environment", async () => {
    vi.stubEnv("MESH_TEST_SECRET", "secret");
    await using supervisor = await startSupervisor();
    const command = supervisor.exec("env", { stretch: await supervisor.lease(), env: { OWN: "1" } });
    await command.finished;
    vi.unstubAllEnvs();
    expect(command.stdout()).toContain("OWN=1\n");
    expect(command.stdout()).not.toContain("secret");
  });

  it("sees and signals no process but its own, where there are namespaces", async ({ skip }) => {
    await using supervisor = await startSupervisor();
    skip(supervisor.link.hello.isolation === "process-group", "this machine gives no namespaces");
    const script = `ls /proc | grep -c '^[0-9]'; kill -9 -1; kill -0 ${supervisor.pid} 2>&1; echo alive`;
    const command = supervisor.exec(script, { stretch: await supervisor.lease() });
    await command.finished;
    expect(Number(command.stdout().split("\n")[0])).toBeLessThan(8);
    expect(await isAlive(supervisor.pid)).toBe(true);
  });

  it("that uses more memory than it may is ended, and said to have", async ({ skip }) => {
    await using supervisor = await startSupervisor();
    skip(supervisor.link.hello.limits.memory !== "control-group", "this machine gives no memory limits");
    const stretch = await supervisor.lease();
    const limits = { memoryBytes: 64 * 1_048_576 };
    const modest = supervisor.exec("head -c 10000000 /dev/zero | tail -c 9000000 | wc -c", {
      attempt: "modest",
      stretch,
      limits,
    });
    expect(await modest.finished).toMatchObject({ exitCode: 0, cause: "exited" });
    const greedy = supervisor.exec("head -c 400000000 /dev/zero | tail -c 390000000 | wc -c", {
      attempt: "greedy",
      stretch,
      limits,
    });
    const exit = await greedy.finished;
    expect(exit).toMatchObject({ cause: "out-of-memory" });
    expect(exit.peakMemoryBytes).toBeGreaterThan(limits.memoryBytes / 2);
    expect(exit.peakMemoryBytes).toBeLessThanOrEqual(limits.memoryBytes);
  });

  it("is told of with the memory that it needed, without what the kernel keeps of its files", async ({
    skip,
  }) => {
    await using supervisor = await startSupervisor();
    skip(supervisor.link.hello.limits.memory !== "control-group", "this machine gives no memory limits");
    skip(statfsSync(supervisor.folder).type === TMPFS, "files lie in memory here");
    const megabytes = (count: number) => `head -c ${count}000000 /dev/zero`;
    const command = supervisor.exec(
      `${megabytes(400)} > big; kept=$(${megabytes(30)} | tr '\\0' a); echo ready; read line`,
      { stretch: await supervisor.lease(), stdin: "pipe" },
    );
    await vi.waitUntil(() => command.stdout() !== "", DEADLINE);
    const { monotonicMs } = await supervisor.stamp();
    // By its own clock it has looked again by then.
    await vi.waitUntil(async () => (await supervisor.stamp()).monotonicMs > monotonicMs + 1_000, DEADLINE);
    command.write("\n");
    const { exitCode, peakMemoryBytes } = await command.finished;
    expect(exitCode).toBe(0);
    expect(peakMemoryBytes).toBeGreaterThan(30e6);
    expect(peakMemoryBytes).toBeLessThan(300e6);
  });

  it("that uses more memory than it may is seen to, where no control group limits that, and ended", async () => {
    await using supervisor = await startSupervisor({ through: WITHOUT_LIMITS });
    expect(supervisor.link.hello.limits.memory).toBe("watched");
    const stretch = await supervisor.lease();
    const limits = { memoryBytes: 150e6 };
    const keep = (megabytes: number) =>
      `kept=$(head -c ${megabytes}000000 /dev/zero | tr '\\0' a); echo kept;`;
    // What forks share with their parent counts once.
    const family = `${keep(30)} for each in 1 2 3 4 5 6; do (read line < /dev/zero) & done; read line; exit 0`;
    const modest = supervisor.exec(family, { attempt: "modest", stretch, limits, stdin: "pipe" });
    await vi.waitUntil(() => modest.stdout() !== "", DEADLINE);
    const greedy = supervisor.exec(`${keep(300)} sleep 600`, { attempt: "greedy", stretch, limits });
    const { cause, peakMemoryBytes } = await greedy.finished;
    expect(cause).toBe("out-of-memory");
    expect(peakMemoryBytes).toBeGreaterThan(limits.memoryBytes);
    const next = supervisor.exec("echo next", { attempt: "greedy", stretch, limits });
    expect(await next.finished).toMatchObject({ cause: "exited", exitCode: 0 });
    modest.write("\n");
    const exit = await modest.finished;
    expect(exit).toMatchObject({ cause: "exited", exitCode: 0 });
    expect(exit.peakMemoryBytes).toBeGreaterThan(30e6);
    expect(supervisor.commands()).toEqual([]);
  });

  it("is told with the memory and the CPU time it uses, apart from its neighbour", async ({ skip }) => {
    await using supervisor = await startSupervisor();
    skip(supervisor.link.hello.limits.memory === "none", "this machine counts nothing of an attempt");
    const stretch = await supervisor.lease();
    const idle = supervisor.exec("read line", { attempt: "b", stretch, stdin: "pipe" });
    const busy = supervisor.exec("kept=$(head -c 30000000 /dev/zero | tr '\\0' a); while :; do :; done", {
      stretch,
    });
    const known = () => {
      const [of, beside] = [supervisor.link.useOf("a"), supervisor.link.useOf("b")];
      const isKnown = (of?.memoryBytes ?? 0) > 30e6 && of?.cpus !== undefined && beside?.cpus !== undefined;
      return isKnown ? { of, beside } : null;
    };
    const { of, beside } = await vi.waitUntil(known, DEADLINE);
    expect(of.cpus).toBeGreaterThan(10 * (beside.cpus ?? 0));
    expect(beside.memoryBytes).toBeLessThan(30e6);
    expect(supervisor.link.useOf("c")).toBeNull();
    idle.endStdin();
    await idle.finished;
    await supervisor.link.kill("a");
    await busy.finished;
  });

  it("that forks for ever is ended at its limit with all of it, while its neighbour works on", async ({
    skip,
  }) => {
    await using supervisor = await startSupervisor();
    skip(
      supervisor.link.hello.limits.processes !== "control-group",
      "this machine gives no limits of processes",
    );
    const stretch = await supervisor.lease();
    const neighbour = supervisor.exec("read line; (echo worked)", { attempt: "b", stretch, stdin: "pipe" });
    const bomb = supervisor.exec("bomb() { bomb | bomb & }; bomb; sleep 600", {
      stretch,
      limits: { processes: 64 },
    });
    expect(await bomb.finished).toMatchObject({ cause: "too-many-processes" });
    neighbour.write("go\n");
    expect(await neighbour.finished).toMatchObject({ cause: "exited", exitCode: 0 });
    expect(neighbour.stdout()).toBe("worked\n");
    expect(supervisor.commands()).toEqual([]);
  });

  it("gets no more CPU time than it may", async ({ skip }) => {
    await using supervisor = await startSupervisor();
    skip(supervisor.link.hello.limits.cpus !== "control-group", "this machine gives no limits of CPU time");
    // User and system time of the children, in a loop that takes a second of both by the clock.
    const command = supervisor.exec(
      "sh -c 'end=$(($(date +%s) + 3)); while [ $(date +%s) -lt $end ]; do :; done'; times | tail -n 1",
      { stretch: await supervisor.lease(), limits: { cpus: 0.2 } },
    );
    expect(await command.finished).toMatchObject({ exitCode: 0 });
    const [user = Number.NaN, system = Number.NaN] = [...command.stdout().matchAll(/0m([\d.]+)s/g)].map(
      ([, seconds]) => Number(seconds),
    );
    // By less than one core's worth of the three to four seconds that it ran.
    expect(user + system).toBeLessThan(2);
  });
});

describe("the line to the host", () => {
  it.each([
    ["no JSON text", Buffer.from([0, 0, 0, 1, 0, 0x7b])],
    ["a length beyond all bounds", Buffer.alloc(64, 0xff)],
    ["a kind nobody knows", Buffer.from([0, 0, 0, 4, 9, 0, 0, 0, 0])],
    ["output, which is not the host's to say", encodeData("stdout", 1, Buffer.from("x"))],
  ])("is given up after %s, with a word why", async (_, bytes) => {
    await using line = openLine();
    line.stdin.write(bytes);
    await line.heard("protocolError");
    await line.ended;
    expect(line.process.exitCode).toBe(0);
  });

  it("is not given up for what a newer host may say", async () => {
    await using line = openLine();
    line.stdin.write(encodeControl({ type: "from-the-future" } as never));
    line.say({ type: "kill", attempt: "unknown" });
    expect(await line.heard("gone")).toEqual({ type: "gone", attempt: "unknown" });
  });

  it("that nobody reads any more keeps no tree from being frozen", async () => {
    await using line = openLine({ leaseMs: 5_000 });
    const first = await line.heard("tick");
    line.say({ type: "lease", stamp: first.stamp });
    const { stretch } = await line.heard("tick", (tick) => tick.stretch !== null);
    const command = { process: 1, attempt: "a", stretch: String(stretch), stdin: "none" as const };
    const argv = ["/bin/sh", "-c", `${ACT} & yes`];
    const placed = placedIn(line.folder, (await line.heard("hello")).isolation);
    line.say({ type: "exec", ...command, ...placed, argv, env: { PATH: "/usr/bin:/bin" } });
    await untilActs(line);
    line.process.stdout?.pause();
    await untilStill(line);
    expect(line.process.exitCode).toBeNull();
  });
});

/** A supervisor at the end of a bare line. */
function openLine({ leaseMs = 60_000 } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-line-"));
  const options = { stateDir: path.join(folder, "state"), leaseMs, checkMs: 25, frozenLimitMs: 60_000 };
  const [program = "", ...args] = localSupervisorCommand(options);
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  const said: FromGuest[] = [];
  const decoder = new FrameDecoder<FromGuest>();
  child.stdout.on("data", (chunk: Buffer) => {
    for (const frame of decoder.push(chunk)) if (frame.kind === "control") said.push(frame.message);
  });
  const ended = once(child, "exit");
  return {
    process: child,
    stdin: child.stdin,
    folder,
    ended,
    say: (message: ToGuest) => void child.stdin.write(encodeControl(message)),
    async heard<Type extends FromGuest["type"]>(
      type: Type,
      matches: (message: Extract<FromGuest, { type: Type }>) => boolean = () => true,
    ) {
      const found = (message: FromGuest): message is Extract<FromGuest, { type: Type }> =>
        message.type === type && matches(message as Extract<FromGuest, { type: Type }>);
      return vi.waitUntil(() => said.find(found), DEADLINE);
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      child.stdout.resume();
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
