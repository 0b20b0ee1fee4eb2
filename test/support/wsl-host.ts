// A Windows host as far as Linux can have one: a host agent whose wsl.exe is the fake, a golden distro, and a repository
// that only the machine's own git has the password for. Nothing of it is left when the test is over.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { vi } from "vitest";
import { markedWith, treeOf, withArguments } from "../../services/host-agent/guest/processes.ts";
import { GOLDEN_DISTRO, NODE_PROGRAM } from "../../services/host-agent/wsl/distro-layout.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { type FakeWindows, startFakeWindows, WSL_PROGRAM } from "./fake-wsl.ts";
import { type GitServer, rememberPassword, startGitServer } from "./git-server.ts";
import { DEADLINE, type Host, type HostMesh, startHostMesh, type Task } from "./host.ts";
import { makeRepository, type Repository } from "./repository.ts";

const LOGIN = { user: "ada", password: "only-windows-knows" };
const MARK = "MESH_SUPERVISOR_STATE";

export interface WslMesh extends AsyncDisposable {
  mesh: HostMesh;
  windows: FakeWindows;
  git: GitServer;
  repository: Repository;
  /** A host that has an instance to give. */
  host(env?: NodeJS.ProcessEnv): Promise<Host>;
  /** One that has said a heartbeat. */
  bareHost(env?: NodeJS.ProcessEnv): Promise<Host>;
  submit(command: string, overrides?: Partial<DeployRequest>): Promise<Task>;
  /** The supervisor of the host, in a distro; and the wsl.exe that it speaks through. */
  supervisor(host: Host): number | undefined;
  wslExe(host: Host): number | undefined;
  /** How many calls of wsl.exe for this Windows are under way. */
  hanging(): number;
  /** What supervisors of the host have started and lives. */
  left(host: Host): number[];
}

export async function startWslMesh(options: { leaseMs?: number } = {}): Promise<WslMesh> {
  await using stack = new AsyncDisposableStack();
  const windows = stack.use(startFakeWindows());
  const made = await windows.wsl.importTar({
    distro: GOLDEN_DISTRO,
    folder: path.join(windows.folder, "golden"),
    file: windows.image,
  });
  if (!made.ok) throw new Error(made.failure.message);
  const repository = stack.use(makeRepository());
  const git = stack.use(await startGitServer(path.dirname(repository.path), LOGIN));
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-wsl-git-"));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  await rememberPassword(folder, git, LOGIN);
  stack.defer(() => void vi.unstubAllEnvs());
  const mesh = stack.use(await startHostMesh({ leaseMs: options.leaseMs ?? 6_000 }));
  const owned = stack.move();

  const bareHost = (env: NodeJS.ProcessEnv = {}) =>
    mesh.host("h1", {
      MESH_HOST_INSTANCES: "wsl2",
      MESH_WSL_EXE: WSL_PROGRAM,
      MESH_HOST_SANDBOX: "1",
      ...env,
    });
  const stateOf = ({ dataDir }: Host) => {
    const installation = readFileSync(path.join(dataDir, "installation"), "utf8");
    return `/var/lib/agent-mesh/${installation.slice(0, 13)}/supervisor`;
  };
  const speakers = (host: Host) => withArguments("--state-dir", stateOf(host), "--lease-ms");
  return {
    mesh,
    windows,
    git,
    repository,
    bareHost,
    async host(env) {
      const host = await bareHost(env);
      await vi.waitUntil(async () => ((await mesh.heartbeat("h1"))?.slots.free ?? 0) > 0, DEADLINE);
      return host;
    },
    submit: (command, overrides = {}) =>
      mesh.submit(command, {
        cloneUrl: `${git.url}/${path.basename(repository.path)}`,
        branch: repository.branch,
        sha: repository.headSha,
        ...overrides,
      }),
    supervisor: (host) => speakers(host).find((pid) => programOf(pid) === NODE_PROGRAM),
    wslExe: (host) => speakers(host).find((pid) => treeOf(host.process.pid ?? 0).includes(pid)),
    hanging: () => markedWith(`FAKE_WSL_STATE=${process.env.FAKE_WSL_STATE}`).filter(isWslExe).length,
    left: (host) => markedWith(`${MARK}=${stateOf(host)}`),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const isWslExe = (pid: number): boolean => withArguments("-l", "-v").includes(pid);

/** Its first argument, as long as it is there. */
function programOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0];
  } catch {
    return undefined;
  }
}

/** Folders of attempts in the golden distro. */
export const treesIn = async ({ windows }: WslMesh): Promise<string[]> => {
  const argv = ["/bin/sh", "-c", "ls /var/lib/agent-mesh/*/workspaces/attempts"];
  const listed = await windows.wsl.run({ distro: GOLDEN_DISTRO, user: "root", argv });
  if (!listed.ok) throw new Error(listed.failure.message);
  return listed.value.stdout
    .toString()
    .split("\n")
    .filter((name) => name !== "");
};

/** Who signals 0 signals itself. */
export function known(pid: number | undefined): number {
  if (pid === undefined) throw new Error("there is no such process at the moment");
  return pid;
}
