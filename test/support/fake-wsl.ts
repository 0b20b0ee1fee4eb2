// A fake Windows for one test: its wsl.exe with a state of its own, gone with the test. MESH_WSL_EXE puts another
// program in the place of the fake; what only ours can be told is skipped then. That one's state is its own affair: what
// tests have registered there is removed, and nothing else is touched.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { inject } from "vitest";
import { hasOurPrefix } from "../../services/host-agent/wsl/distro-layout.ts";
import { linesOf, textOf } from "../../services/host-agent/wsl/output-text.ts";
import { createWsl, type Wsl } from "../../services/host-agent/wsl/wsl.ts";
import { wslEnvironment } from "../../services/host-agent/wsl/wsl-call.ts";
import type { WslTimes } from "../../services/host-agent/wsl/wsl-commands.ts";
import { type Faults, writeFaults } from "../fake-wsl/faults.ts";
import { ask, type Request, reachService, userFolder } from "../fake-wsl/service-line.ts";

const OUR_FAKE = path.resolve(import.meta.dirname, "../fake-wsl/wsl");
export const WSL_PROGRAM = process.env.MESH_WSL_EXE ?? OUR_FAKE;
export const isOurFake = WSL_PROGRAM === OUR_FAKE;
export const hasDistros = inject("distroImage") !== "";

interface RecordedCall {
  line: string;
  WSL_UTF8?: string;
  WSLENV?: string;
  exitCode?: number;
}

export interface FakeWindows extends AsyncDisposable {
  folder: string;
  wsl: Wsl;
  /** Tarball of a small distro of ours. */
  image: string;
  faults(faults: Faults): void;
  happens(what: Extract<Request, { op: "inject" }>["what"]): Promise<void>;
  calls(): RecordedCall[];
}

const TIMES: WslTimes = {
  version: 15_000,
  list: 15_000,
  copy: 60_000,
  start: 30_000,
  stop: 20_000,
  run: 30_000,
};

function onlyOurs(): void {
  if (!isOurFake)
    throw new Error("only our own fake can be told that: the test is to be skipped for another");
}

/** Names of all distros, by a program that is not our fake. */
function registered(): string[] {
  const listed = spawnSync(WSL_PROGRAM, ["-l", "-q"], { env: wslEnvironment(), timeout: TIMES.list });
  return linesOf(textOf(listed.stdout));
}

/** The environment is the process's, as the product finds it: one fake Windows at a time. */
export function startFakeWindows(
  options: {
    times?: Partial<WslTimes>;
    env?: Record<string, string>;
    /** Its `.wslconfig`. */
    profile?: string;
  } = {},
): FakeWindows {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-wsl-"));
  if (options.profile !== undefined) writeFileSync(path.join(folder, ".wslconfig"), options.profile);
  mkdirSync(path.join(folder, "state"));
  const set: Record<string, string> = {
    FAKE_WSL_STATE: path.join(folder, "state"),
    USERPROFILE: folder,
    ...options.env,
  };
  const before = Object.fromEntries(Object.keys(set).map((name) => [name, process.env[name]]));
  Object.assign(process.env, set);
  const stateDir = path.join(folder, "state");
  const there = new Set(isOurFake ? [] : registered());
  const user = set.FAKE_WSL_USER ?? "owner";
  const happens = async (what: Extract<Request, { op: "inject" }>["what"]) => {
    onlyOurs();
    await ask(await reachService(stateDir, user), { op: "inject", what }).next();
  };
  return {
    folder,
    wsl: createWsl(WSL_PROGRAM, { ...TIMES, ...options.times }),
    image: inject("distroImage"),
    faults(faults) {
      if (Object.keys(faults).length > 0) onlyOurs();
      writeFaults(stateDir, faults);
    },
    happens,
    calls() {
      onlyOurs();
      const entries = readFileSync(path.join(stateDir, "calls.jsonl"), "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as RecordedCall & { call: string });
      const calls = new Map<string, RecordedCall>();
      for (const { call, ...entry } of entries) calls.set(call, { ...calls.get(call), ...entry });
      return [...calls.values()];
    },
    async [Symbol.asyncDispose]() {
      if (isOurFake && existsSync(userFolder(stateDir, user))) await happens("stop-service");
      if (!isOurFake)
        for (const name of registered().filter((one) => hasOurPrefix(one) && !there.has(one)))
          spawnSync(WSL_PROGRAM, ["--unregister", name], { env: wslEnvironment(), timeout: TIMES.stop });
      for (const [name, value] of Object.entries(before))
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
