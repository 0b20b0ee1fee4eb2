// A faithful fake of wsl.exe for Linux: what the real one is known to do, with real namespaces, disks and terminals
// behind it. Set by the environment: FAKE_WSL_STATE (folder of its state), FAKE_WSL_USER (the Windows user), and
// FAKE_WSL_LANGUAGE, FAKE_WSL_LATENCY, FAKE_WSL_DISK_MIB. Exit code -1 is 255 here; the record of calls has the real one.
import { randomUUID } from "node:crypto";
import { appendFileSync, createReadStream, createWriteStream, existsSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { runAttached } from "./attached.ts";
import { crossing } from "./crossing.ts";
import { readFaults } from "./faults.ts";
import { type Asked, parse, type Run } from "./parse.ts";
import { quoted } from "./raw-line.ts";
import { type Answer, ask, type ListedDistro, type Request, reachService } from "./service-line.ts";
import { errorLines, ownBytes, type TextName, words } from "./words.ts";

const FAILED = 4_294_967_295;
const stateDir = process.env.FAKE_WSL_STATE ?? path.join(tmpdir(), "fake-wsl");
const user = process.env.FAKE_WSL_USER ?? "owner";
const line = process.argv.slice(2).map(quoted).join(" ");
const call = randomUUID();
mkdirSync(stateDir, { recursive: true });
const faults = readFaults(stateDir);

async function act(): Promise<void> {
  const asked = parse(line);
  const exitCode =
    isServed(asked) && user.toUpperCase() === "SYSTEM" ? refuseSystem() : await carryOut(asked);
  record({ exitCode });
  process.exitCode = exitCode === FAILED ? 255 : exitCode;
  process.stdout.write("", () => process.stderr.write("", () => process.exit()));
}

const isServed = (asked: Asked): boolean => !["usage", "error", "version"].includes(asked.kind);
const refuseSystem = (): number => fail("Wsl/WSL_E_LOCAL_SYSTEM_NOT_SUPPORTED");

async function carryOut(asked: Asked): Promise<number> {
  switch (asked.kind) {
    case "usage":
      return say([words("usage")], FAILED);
    case "error":
      return sayError(asked.code, asked.message);
    case "version":
      return say(
        Object.entries(VERSIONS).map(([what, version]) => `${what}${words("version")}${version}`),
        0,
      );
    case "status": {
      const first = await one({ op: "look", name: null });
      const lines = "name" in first ? [words("defaultDistro") + first.name] : [];
      return say([...lines, `${words("defaultVersion")}2`], 0);
    }
    case "list":
      return list(asked);
    case "shutdown":
      return quietly(await one({ op: "shutdown" }));
    case "terminate":
    case "unregister":
    case "setDefault":
      return plainly(await one({ op: asked.kind, name: asked.name }));
    case "setDefaultUser":
      return plainly(await one({ op: "setDefaultUser", name: asked.name, user: asked.user }));
    case "import": {
      if (!asked.vhd && /\.vhdx?$/.test(asked.file)) return say([words("looksLikeVhd")], FAILED);
      const { name, folder, vhd } = asked;
      const given = await fromStdin(asked.file);
      try {
        return plainly(
          await one({ op: "import", name, folder, file: given.file, kind: vhd ? "vhd" : "tar" }),
        );
      } finally {
        given.discard();
      }
    }
    case "importInPlace":
      return plainly(await one({ op: "importInPlace", name: asked.name, disk: asked.disk }));
    case "export":
      return exportDistro(asked.name, asked.file, asked.format);
    case "install": {
      const folder = asked.folder ?? path.join(stateDir, "installed", asked.name);
      mkdirSync(path.dirname(folder), { recursive: true });
      process.stdout.write(ownBytes([words("installing") + asked.file]));
      return plainly(
        await one({ op: "import", name: asked.name, folder, file: path.resolve(asked.file), kind: "tar" }),
      );
    }
    case "run":
      return run(asked);
  }
}

const VERSIONS = {
  WSL: "2.7.11.0",
  Kernel: "6.18.33.2-2",
  WSLg: "1.0.71",
  MSRDC: "1.2.6353",
  Direct3D: "1.611.1-81528511",
  DXCore: "10.0.26100.1-240331.1435.ge-release",
  Windows: "10.0.26100.1",
};

async function list({ verbose, quiet, running, all }: Extract<Asked, { kind: "list" }>): Promise<number> {
  const answer = await one({ op: "list", all: all || verbose, running });
  if (!("distros" in answer)) return plainly(answer);
  const { distros } = answer;
  if (quiet)
    return say(
      distros.map(({ name }) => name),
      0,
    );
  if (distros.length === 0) return say([words(running ? "noneRunning" : "noDistros")], FAILED);
  if (verbose) return say(table(distros), 0);
  return say(
    [
      words("listHeading"),
      ...distros.map(({ name, isDefault }) => name + (isDefault ? words("default") : "")),
    ],
    0,
  );
}

function table(distros: ListedDistro[]): string[] {
  const width = Math.max(4, ...distros.map(({ name }) => name.length)) + 4;
  const row = (mark: string, name: string, state: string, version: string) =>
    `${mark} ${name.padEnd(width)}${state.padEnd(16)}${version}`;
  return [
    row(" ", "NAME", "STATE", "VERSION"),
    ...distros.map(({ name, isDefault, state }) => row(isDefault ? "*" : " ", name, state, "2")),
  ];
}

async function run(asked: Run): Promise<number> {
  const found = await one({ op: "look", name: asked.distro });
  if (!("name" in found)) return plainly(found);
  if (faults.proxyWarning) process.stderr.write(ownBytes([words("proxy")]));
  let { folder } = asked;
  if (folder === null) {
    process.stderr.write(ownBytes([`wsl: Failed to translate '${process.cwd()}'`]));
    folder = "~";
  } else if (/^[A-Za-z]:/.test(folder)) return fail("Wsl/E_INVALIDARG");
  const service = await reachService(stateDir, user);
  const ended = await runAttached(service, {
    op: "run",
    name: found.name,
    user: asked.user,
    folder,
    command: asked.command,
    env: crossing(process.env),
  });
  if ("error" in ended) return plainly(ended);
  // Taken for errors of WSL's own, whoever ends so.
  if (ended.exit === 67) return fail("Wsl/Service/CreateInstance/WSL_E_USER_NOT_FOUND");
  if (ended.exit === 87) return fail("Wsl/Service/CreateInstance/WSL_E_TTY_LIMIT");
  return ended.exit;
}

async function one(request: Request): Promise<Answer> {
  const { value } = await ask(await reachService(stateDir, user), request).next();
  return value ?? { error: "Wsl/Service/E_FAIL" };
}

/** `-` is what comes on stdin. */
async function fromStdin(file: string): Promise<{ file: string; discard: () => void }> {
  if (file !== "-") return { file: path.resolve(file), discard: () => {} };
  const kept = path.join(stateDir, `stdin-${call}`);
  await pipeline(process.stdin, createWriteStream(kept));
  return { file: kept, discard: () => rmSync(kept, { force: true }) };
}

/** `-` goes to stdout, which has nothing else then. */
async function exportDistro(name: string, file: string, kind: string): Promise<number> {
  const target = file === "-" ? path.join(stateDir, `stdout-${call}`) : path.resolve(file);
  const answer = await one({ op: "export", name, file: target, kind });
  if (file !== "-" || "error" in answer) return plainly(answer);
  await pipeline(createReadStream(target), process.stdout, { end: false });
  rmSync(target);
  return 0;
}

function plainly(answer: Answer): number {
  if ("error" in answer) return fail(answer.error, answer.message);
  return say([words("success")], 0);
}

const quietly = (answer: Answer): number => ("error" in answer ? fail(answer.error, answer.message) : 0);
const fail = (code: string, message?: string): number => say(errorLines(code, message), FAILED);

function sayError(code: string | null, message?: string): number {
  if (code !== null) return fail(code);
  const [name = "", ...rest] = (message ?? "").split(" ");
  return say([words(name as TextName) + rest.join(" ")], FAILED);
}

function say(lines: string[], exitCode: number): number {
  process.stdout.write(ownBytes(lines));
  return exitCode;
}

function record(entry: Record<string, unknown>): void {
  const file = path.join(stateDir, "calls.jsonl");
  if (existsSync(stateDir)) appendFileSync(file, `${JSON.stringify({ call, atMs: Date.now(), ...entry })}\n`);
}

record({ line, pid: process.pid, WSL_UTF8: process.env.WSL_UTF8, WSLENV: process.env.WSLENV });
if (faults.hang !== undefined && line.startsWith(faults.hang)) setInterval(() => {}, 60_000);
else await act();
