// The program that makes trees where the instances are, for a host agent on another file system: its calls come on
// stdin, what becomes of them goes to stdout. It ends with its stdin. Nothing of a task's own runs in it.
import { randomUUID } from "node:crypto";
import { createWriteStream, type WriteStream } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { finished } from "node:stream/promises";
import { parseArgs } from "node:util";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { programsHere } from "../runner/program.ts";
import { gitConfigFor } from "./credential-helper.ts";
import { KEPT_FOLDER, keptWorkspaces, SWEEP_MS } from "./kept-workspaces.ts";
import { removeTree } from "./tree.ts";
import { readVirtualMachine } from "./virtual-machine.ts";
import { type Call, encodeLine, type FromHost, type FromProgram, LineDecoder } from "./wire.ts";
import { localWorkspaces } from "./workspaces.ts";

export async function serveWorkspaces(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      folder: { type: "string", default: "" },
      "allow-file-clones": { type: "boolean", default: false },
      // No attempt of an earlier one is alive any more.
      afresh: { type: "boolean", default: false },
    },
  });
  const { folder } = values;
  if (!path.isAbsolute(folder)) throw new Error(`expected the full path of a folder, got "${folder}"`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const attemptsFolder = path.join(folder, "attempts");
  if (values.afresh) await removeTree(attemptsFolder);
  const kept = keptWorkspaces(path.join(folder, KEPT_FOLDER));
  const sweep = () => void kept.sweep().catch((error: unknown) => console.error("kept workspaces:", error));
  sweep();
  setInterval(sweep, SWEEP_MS).unref();
  const workspaces = await localWorkspaces({
    cacheDir: path.join(folder, "cache"),
    dependenciesFolder: path.join(folder, "dependencies"),
    attemptsFolder,
    kept,
    allowFileClones: values["allow-file-clones"],
  });

  const programs = programsHere(process.env.PATH ?? "");
  const aborts = new Map<number, AbortController>();
  const asked = new Map<number, (text: string) => void>();
  let questions = 0;
  let patch: {
    id: number;
    call: Extract<Call, { call: "applyPatch" }>;
    out: WriteStream;
    left: number;
  } | null = null;
  const say = (message: FromProgram) => process.stdout.write(encodeLine(message));

  async function answer(id: number, call: Call, patchFile: string | null): Promise<void> {
    const abort = new AbortController();
    aborts.set(id, abort);
    try {
      say({ id, value: await carryOut(call, patchFile, abort.signal) });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      say({ id, error: { message, code: systemErrorCode(error) ?? null } });
    } finally {
      aborts.delete(id);
      if (patchFile !== null) await rm(patchFile, { force: true });
    }
  }

  function carryOut(call: Call, patchFile: string | null, signal: AbortSignal): Promise<unknown> {
    switch (call.call) {
      case "prepare":
        return workspaces.prepare(call.wanted, signal);
      case "applyPatch":
        return workspaces.applyPatch(call.tree, { file: patchFile ?? "", gitDir: call.gitDir }, signal);
      case "keep":
        return workspaces.keep?.(call.about) ?? Promise.resolve(null);
      case "remove":
        return workspaces.remove(call.attemptKey);
      case "isDiskFull":
        return workspaces.isDiskFull();
      case "look":
        return programs.look(call.name, call.file);
      case "greet":
        return programs.greet(call.argv, call.env);
      case "readings":
        return Promise.all([workspaces.readings(), readVirtualMachine()]).then(([readings, vm]) => ({
          ...readings,
          vm,
        }));
    }
  }

  /** What follows it is its patch, and goes to a file first. */
  function begin(id: number, call: Call): number {
    if (call.call !== "applyPatch") {
      void answer(id, call, null);
      return 0;
    }
    const file = path.join(folder, `patch-${randomUUID()}`);
    const out = createWriteStream(file, { mode: 0o600 });
    // What went wrong with it is seen when it is applied; a full disk is an error of that.
    const written = finished(out);
    written.then(
      () => void answer(id, call, file),
      (error: unknown) => {
        say({ id, error: { message: String(error), code: systemErrorCode(error) ?? null } });
        void rm(file, { force: true });
      },
    );
    if (call.bytes === 0) out.end();
    else patch = { id, call, out, left: call.bytes };
    return call.bytes;
  }

  function take(bytes: Buffer): void {
    if (patch === null) return;
    patch.out.write(bytes);
    patch.left -= bytes.length;
    if (patch.left > 0) return;
    patch.out.end();
    patch = null;
  }

  const decoder = new LineDecoder<FromHost>((message) => {
    if ("credential" in message) {
      asked.get(message.credential)?.(message.text);
      asked.delete(message.credential);
      return 0;
    }
    if ("abort" in message) {
      aborts.get(message.id)?.abort();
      return 0;
    }
    const { id, ...call } = message;
    return begin(id, call);
  }, take);

  /** git's credential helper comes here, and the host is asked. */
  const socketFile = path.join(folder, "credentials");
  await rm(socketFile, { force: true });
  const helpers = createServer({ allowHalfOpen: true }, (socket) => {
    let text = "";
    socket.on("error", () => {});
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    socket.on("end", () => {
      const [action = "", ...lines] = text.split("\n");
      const credential = ++questions;
      asked.set(credential, (reply) => socket.end(reply));
      say({ credential, action, text: lines.join("\n") });
    });
  });
  await new Promise<void>((listening) => helpers.listen(socketFile, listening));
  const configFile = path.join(folder, "gitconfig");
  await writeFile(
    configFile,
    gitConfigFor([process.execPath, process.argv[1] ?? "", "credential", socketFile]),
  );
  process.env.GIT_CONFIG_GLOBAL = configFile;

  process.stdin.on("data", (chunk: Buffer) => decoder.push(chunk));
  process.stdin.on("end", () => process.exit(0));
  process.stdin.on("error", () => process.exit(0));
  process.stdout.on("error", () => process.exit(0));
}
