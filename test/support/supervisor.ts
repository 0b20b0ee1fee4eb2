// A real guest supervisor for tests, in a folder of its own that goes with it, and what tests ask of it. It holds
// no lease before a test hands a stamp back; by then it holds one for a minute, unless the test says otherwise.
import { execFileSync, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { endFormerLife } from "../../services/host-agent/guest/former-life.ts";
import { type Isolation, WORK_PATH } from "../../services/host-agent/guest/inside.ts";
import type { Stamp } from "../../services/host-agent/guest/lease.ts";
import { markedWith, withArguments } from "../../services/host-agent/guest/processes.ts";
import { stateArguments } from "../../services/host-agent/guest/state.ts";
import { localSupervisorCommand } from "../../services/host-agent/supervisor/supervisor-command.ts";
import {
  connectSupervisor,
  type ExecSpec,
  type ExitRecord,
  type SupervisorLink,
} from "../../services/host-agent/supervisor/supervisor-link.ts";
import { until } from "./until.ts";

export const DEADLINE = { timeout: 30_000, interval: 20 };

/** A command under way, and what it has printed so far. */
interface Command {
  finished: Promise<ExitRecord>;
  stdout(): string;
  stderr(): string;
  write(text: string): void;
  endStdin(): void;
  signal(name: NodeJS.Signals): void;
}

export interface TestSupervisor extends AsyncDisposable {
  link: SupervisorLink;
  pid: number;
  /** A folder that commands may write to; they begin in it. */
  folder: string;
  /** What it has said of attempts that it froze by itself. */
  frozen: string[];
  /** Hands a stamp back (the latest if none is given); the stretch of lease that holds then. */
  lease(stamp?: Stamp): Promise<string>;
  /** Waits until it holds no lease. */
  lapse(): Promise<void>;
  /** Waits until it has looked at its lease so many times more. */
  looks(count: number): Promise<void>;
  stamp(): Promise<Stamp>;
  exec(script: string, overrides: Partial<ExecSpec> & { stretch: string }): Command;
  /** Living processes of its commands, whatever they call themselves. */
  commands(): number[];
  /** The supervisor and its watchdog. */
  own(): number[];
}

interface Wanted {
  /** What the supervisor is started through, such as `setpriv`. */
  through?: string[];
  leaseMs?: number;
  checkMs?: number;
  frozenLimitMs?: number;
  /** Leaves what a dead supervisor has left to itself. */
  leaveLeftovers?: boolean;
  tools?: string[];
  /** One of its own if not given; it goes with it. */
  folder?: string;
}

export async function startSupervisor({
  through = [],
  leaseMs = 60_000,
  checkMs = 25,
  frozenLimitMs = 60_000,
  leaveLeftovers = false,
  tools = [],
  folder = mkdtempSync(path.join(tmpdir(), "mesh-supervisor-")),
}: Wanted = {}): Promise<TestSupervisor> {
  chmodSync(folder, 0o777);
  const stateDir = path.join(folder, "state");
  mkdirSync(stateDir);
  chmodSync(stateDir, 0o777);
  const tag = `MESH_TEST_TAG=${randomUUID()}`;
  const link = await connectSupervisor({
    command: [...through, ...localSupervisorCommand({ stateDir, leaseMs, checkMs, frozenLimitMs, tools })],
    onStderr: (text) => process.stderr.write(text),
    silenceMs: 60_000,
    helloMs: 180_000,
    endLeftovers: async () => {
      if (!leaveLeftovers) await endFormerLife(stateDir);
    },
  });
  const frozen: string[] = [];
  link.onFrozen((attempt) => frozen.push(attempt));
  const stamp = async () => (await until(() => link.latestTick())).stamp;
  const stretch = () => link.latestTick()?.stretch ?? null;

  return {
    link,
    pid: link.hello.pid,
    folder,
    frozen,
    stamp,
    async lease(given) {
      link.renewLease(given ?? (await stamp()));
      return until(stretch);
    },
    async lapse() {
      await until(() => link.latestTick() !== null && stretch() === null);
    },
    async looks(count) {
      for (let look = 0; look < count; look++) {
        const before = link.latestTick();
        await until(() => link.latestTick() !== before);
      }
    },
    exec(script, overrides) {
      const output = { stdout: "", stderr: "" };
      const placed = placedIn(folder, link.hello.isolation);
      const command = link.exec(
        {
          attempt: "a",
          argv: ["/bin/sh", "-c", script],
          ...placed,
          stdin: "none",
          ...overrides,
          env: { PATH: process.env.PATH ?? "/usr/bin:/bin", ...env(tag), ...overrides.env },
        },
        (stream, bytes) => {
          output[stream] += bytes.toString();
        },
      );
      return {
        finished: command.finished,
        stdout: () => output.stdout,
        stderr: () => output.stderr,
        write: (text) => command.write(Buffer.from(text)),
        endStdin: command.endStdin,
        signal: command.signal,
      };
    },
    commands: () => markedWith(tag),
    own: () => withArguments(...stateArguments(stateDir)),
    async [Symbol.asyncDispose]() {
      await link[Symbol.asyncDispose]();
      await endFormerLife(stateDir);
      while (markedWith(tag).length > 0) await delay(20);
      // A supervisor that saw other control groups than this process does may have left some.
      if (through.includes(HIDE_VERSION_2)) tidyAsSeenThrough(through, stateDir);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Where a command begins that is to write into the folder, in any isolation. */
export const placedIn = (folder: string, isolation: Isolation): Pick<ExecSpec, "cwd" | "mounts"> => ({
  cwd: isolation === "process-group" ? folder : WORK_PATH,
  mounts: { workTree: folder, home: folder, temporary: folder },
});

const env = (entry: string): Record<string, string> => Object.fromEntries([entry.split("=")]);

/** Where it is not, tests of the sandbox are skipped. */
export const hasBubblewrap = spawnSync("bwrap", ["--version"]).status === 0;
export const isRoot = process.getuid?.() === 0;
/** What is left suffices to make control groups, and for no namespace. */
/** Takes root. */
export const WITHOUT_BUBBLEWRAP = ["unshare", "--mount", "--", "sh", "-c", hide("bwrap"), "sh"];
const POWERLESS = ["setpriv", "--bounding-set=-all,+dac_override", "--inh-caps=-all", "--"];
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

function tidyAsSeenThrough(through: string[], stateDir: string): void {
  const formerLife = path.resolve(import.meta.dirname, "../../services/host-agent/guest/former-life.ts");
  const script = `import { endFormerLife } from ${JSON.stringify(formerLife)};
    await endFormerLife(${JSON.stringify(stateDir)});`;
  const [program, ...args] = [...through, process.execPath, "--input-type=module", "--eval", script];
  execFileSync(program, args);
}

const CGROUPS = "/sys/fs/cgroup";
/** Puts what nobody may run in the place of a program, for whoever begins in a mount namespace of his own. */
function hide(program: string): string {
  return `for at in $(which -a ${program}); do mount --bind /dev/null $at || exit 1; done; exec "$@"`;
}
const HIDE_VERSION_2 = `mount -t tmpfs mesh ${CGROUPS}/unified && exec "$@"`;

/** Nothing that the kernel gives nobody. */
export const WITHOUT_LIMITS = [
  ...(isRoot ? NOBODY : []),
  ...["unshare", "--user", "--map-root-user"],
  ...POWERLESS,
];

/** Ways to start a supervisor with less and less that the kernel gives it; what cannot be tried here is left out. */
export const MODES: { mode: string; through: string[]; isolation?: Isolation; freezer?: RegExp }[] = [
  { mode: "with all that this machine gives", through: [] },
  ...(isRoot
    ? [{ mode: "without bubblewrap", through: WITHOUT_BUBBLEWRAP, isolation: "namespaces" as const }]
    : []),
  ...(isRoot && existsSync(`${CGROUPS}/freezer/cgroup.procs`) && existsSync(`${CGROUPS}/unified`)
    ? [
        {
          mode: "with control groups of version 1",
          through: ["unshare", "--mount", "--", "sh", "-c", HIDE_VERSION_2, "sh"],
          freezer: /cgroup-v1/,
        },
      ]
    : []),
  ...(isRoot
    ? [
        {
          mode: "with namespaces, without control groups",
          through: [...WITHOUT_BUBBLEWRAP, ...NOBODY],
          isolation: "namespaces" as const,
          freezer: /signals/,
        },
        ...(hasBubblewrap
          ? [
              {
                mode: "in a sandbox, as an ordinary user without control groups",
                through: NOBODY,
                isolation: "sandbox" as const,
                freezer: /signals/,
              },
            ]
          : []),
        {
          mode: "with control groups, without namespaces",
          through: POWERLESS,
          isolation: "process-group" as const,
          freezer: /cgroup/,
        },
      ]
    : []),
  {
    mode: "with neither",
    through: WITHOUT_LIMITS,
    isolation: "process-group",
    freezer: /signals/,
  },
];
