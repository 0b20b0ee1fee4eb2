// Trees where the instances are, through the program that makes them there (`serve.ts`), which a supervisor runs. It is
// begun when it is needed, and again when it has ended; what it was asked for then has failed.
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import type { Guest } from "../guest-keeper.ts";
import type { LookForProgram } from "../runner/program.ts";
import type { GuestProcess } from "../supervisor-link.ts";
import { askCredentials } from "./credentials.ts";
import type { Prepared } from "./tree.ts";
import { type Call, encodeLine, type FromProgram, LineDecoder } from "./wire.ts";
import type { WorkspaceReadings, Workspaces } from "./workspaces.ts";

/** One that does not come back: the program has ended, or cannot begin. */
class ProgramGone extends Error {}

interface Line {
  process: GuestProcess;
  waiting: Map<number, PromiseWithResolvers<unknown>>;
}

export function remoteWorkspaces(options: {
  guest: Pick<Guest, "hello" | "serve">;
  /** Where everything of it lies there. */
  folder: string;
  allowFileClones: boolean;
  /** Work may be root there: once it has begun, git itself may be its own, and is told no credentials any more. */
  isWorkRoot: boolean;
  log: Logger;
}): Workspaces & { look: LookForProgram } {
  const { guest, folder, allowFileClones, isWorkRoot, log } = options;
  let line: Line | null = null;
  /** With it everything died that used a tree. */
  let supervisor: string | undefined;
  let calls = 0;
  /** Trees that are being made: for nothing else does git need credentials there. */
  let preparing = 0;
  let prepared = false;

  function open(): Line {
    const waiting: Line["waiting"] = new Map();
    const hear = (message: FromProgram): number => {
      if ("credential" in message) {
        const { credential, action, text: about } = message;
        // What has become root there could ask as well, and is not told.
        const mayAsk = preparing > 0 && !(isWorkRoot && prepared);
        const answered = mayAsk ? askCredentials(action, about) : Promise.resolve("");
        void answered.then((text) => opened.process.write(encodeLine({ credential, text })));
        return 0;
      }
      const asked = waiting.get(message.id);
      waiting.delete(message.id);
      if ("error" in message)
        asked?.reject(Object.assign(new Error(message.error.message), { code: message.error.code }));
      else asked?.resolve(message.value);
      return 0;
    };
    const decoder = new LineDecoder<FromProgram>(hear);
    const hello = guest.hello();
    if (hello === null) throw new ProgramGone("there is no guest supervisor at the moment");
    const args = [
      ...["workspaces", "--folder", folder],
      ...(allowFileClones ? ["--allow-file-clones"] : []),
      ...(hello.supervisor === supervisor ? [] : ["--afresh"]),
    ];
    supervisor = hello.supervisor;
    const process = guest.serve(args, (stream, bytes) => {
      if (stream === "stdout") decoder.push(bytes);
      else log.warn({ text: bytes.toString() }, "the program that makes trees");
    });
    const opened: Line = { process, waiting };
    line = opened;
    void process.finished.then(({ cause, exitCode, message }) => {
      if (line === opened) line = null;
      const why = message ?? (cause === "exited" ? `it exited ${exitCode}` : cause);
      for (const { reject } of waiting.values())
        reject(new ProgramGone(`the program that makes trees has ended: ${why}`));
    });
    return opened;
  }

  async function ask<Value>(call: Call, signal?: AbortSignal, patch?: Buffer): Promise<Value> {
    signal?.throwIfAborted();
    const { process, waiting } = line ?? open();
    const id = ++calls;
    const answered = Promise.withResolvers<unknown>();
    waiting.set(id, answered);
    const abort = () => process.write(encodeLine({ id, abort: true }));
    signal?.addEventListener("abort", abort);
    try {
      process.write(encodeLine({ id, ...call }));
      // In one stroke: what others ask for meanwhile would be taken for a part of it.
      if (patch !== undefined) process.write(patch);
      return (await answered.promise) as Value;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  return {
    async prepare(wanted, signal): Promise<Prepared> {
      preparing++;
      try {
        return await ask<Prepared>({ call: "prepare", wanted }, signal);
      } catch (error) {
        if (signal.aborted || error instanceof ProgramGone)
          return { ok: false, category: "host", permanent: false, message: (error as Error).message };
        throw error;
      } finally {
        preparing--;
        prepared = true;
      }
    },
    async applyPatch(tree, { file, gitDir }, signal) {
      const patch = await readFile(file);
      return ask({ call: "applyPatch", tree, gitDir, bytes: patch.length }, signal, patch);
    },
    // Where the program is gone, nobody can tell, and the next one begins with nothing.
    remove: (attemptKey) => unlessGone(ask<void>({ call: "remove", attemptKey }), undefined),
    isDiskFull: () => unlessGone(ask<boolean>({ call: "isDiskFull" }), false),
    look: (name, file) => ask({ call: "look", name, file }),
    readings: () => ask<WorkspaceReadings>({ call: "readings" }),
  };
}

const unlessGone = <Value>(asked: Promise<Value>, otherwise: Value): Promise<Value> =>
  asked.catch((error: unknown) => {
    if (error instanceof ProgramGone) return otherwise;
    throw error;
  });
