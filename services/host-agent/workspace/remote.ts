// Trees where the instances are, through the program that makes them there (`serve.ts`), which a supervisor runs. It is
// begun when it is needed, and again when it has ended or hung; what it was asked for then has failed. Nobody waits for it
// for ever: whatever it is asked for is answered in time, or can be broken off.
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import type { ProgramsThere } from "../runner/program.ts";
import type { Guest } from "../supervisor/guest-keeper.ts";
import type { GuestProcess } from "../supervisor/supervisor-link.ts";
import { askCredentials } from "./credentials.ts";
import type { KeptWorkspace } from "./kept-workspaces.ts";
import type { Applied } from "./patch.ts";
import type { Prepared } from "./tree.ts";
import { type Call, encodeLine, type FromProgram, LineDecoder } from "./wire.ts";
import type { WorkspaceReadings, Workspaces } from "./workspaces.ts";

/** One that does not come back: the program has ended, or cannot begin. */
class ProgramGone extends Error {}

/** ms. Beyond them the program has hung, and is ended. */
export interface RemoteTimes {
  /** For what takes no time where anything works at all. */
  quick: number;
  /** To remove an attempt's trees, which may be of a great many files. */
  remove: number;
  /** To break off what it was told to. */
  abort: number;
}
/** A time is so many looks, so that time in which this process itself stood still is none. */
const LOOKS = 20;
const TIMES: RemoteTimes = { quick: 60_000, remove: 300_000, abort: 30_000 };

type KeptAbout = Omit<KeptWorkspace, "until">;

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
  times?: RemoteTimes;
  log: Logger;
}): Workspaces & { programs: ProgramsThere } {
  const { guest, folder, allowFileClones, isWorkRoot, times = TIMES, log } = options;
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
      lose(opened, `has ended: ${message ?? (cause === "exited" ? `it exited ${exitCode}` : cause)}`);
    });
    return opened;
  }

  function lose(lost: Line, why: string): void {
    if (line === lost) line = null;
    for (const { reject } of lost.waiting.values())
      reject(new ProgramGone(`the program that makes trees ${why}`));
    lost.waiting.clear();
  }

  function giveUp(hung: Line, afterMs: number): void {
    if (line !== hung) return;
    log.error({ afterMs }, "the program that makes trees does not answer, and is begun anew");
    hung.process.signal("SIGKILL");
    lose(hung, `did not answer within ${afterMs} ms`);
  }

  /** `timeoutMs`: null for what takes as long as its signal lets it. */
  async function ask<Value>(
    call: Call,
    timeoutMs: number | null,
    { signal, patch }: { signal?: AbortSignal; patch?: Buffer } = {},
  ): Promise<Value> {
    signal?.throwIfAborted();
    const asked = line ?? open();
    const { process, waiting } = asked;
    const id = ++calls;
    const answered = Promise.withResolvers<unknown>();
    waiting.set(id, answered);
    const timers: NodeJS.Timeout[] = [];
    const giveUpAfter = (afterMs: number) => {
      let looks = 0;
      const look = () => ++looks < LOOKS || giveUp(asked, afterMs);
      timers.push(setInterval(look, afterMs / LOOKS));
    };
    const abort = () => {
      process.write(encodeLine({ id, abort: true }));
      giveUpAfter(times.abort);
    };
    signal?.addEventListener("abort", abort);
    if (timeoutMs !== null) giveUpAfter(timeoutMs);
    try {
      process.write(encodeLine({ id, ...call }));
      // In one stroke: what others ask for meanwhile would be taken for a part of it.
      if (patch !== undefined) process.write(patch);
      return (await answered.promise) as Value;
    } finally {
      signal?.removeEventListener("abort", abort);
      for (const timer of timers) clearInterval(timer);
    }
  }

  /** One that has died while its supervisor lives has left what was to be removed. */
  async function remove(attemptKey: string): Promise<void> {
    const call = { call: "remove", attemptKey } as const;
    try {
      await ask(call, times.remove);
    } catch (error) {
      if (!(error instanceof ProgramGone)) throw error;
      // Where the supervisor is gone, the next program begins with nothing.
      if (guest.hello() !== null) await unlessGone(ask<void>(call, times.remove), undefined);
    }
  }

  return {
    async prepare(wanted, signal): Promise<Prepared> {
      preparing++;
      try {
        return await ask<Prepared>({ call: "prepare", wanted }, null, { signal });
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
      const call = { call: "applyPatch", tree, gitDir, bytes: patch.length } as const;
      try {
        return await ask<Applied>(call, null, { signal, patch });
      } catch (error) {
        if (!(error instanceof ProgramGone)) throw error;
        return { ok: false, category: "host", message: error.message };
      }
    },
    // Where each attempt has a distro of its own, that one goes with it.
    ...(!isWorkRoot && {
      keep: (about: KeptAbout) => ask<string | null>({ call: "keep", about }, times.remove),
    }),
    remove,
    isDiskFull: () => unlessGone(ask<boolean>({ call: "isDiskFull" }, times.quick), false),
    programs: {
      look: (name, file) => ask({ call: "look", name, file }, times.quick),
      greet: (argv, env) => ask({ call: "greet", argv, env }, times.quick),
    },
    readings: () => ask<WorkspaceReadings>({ call: "readings" }, times.quick),
  };
}

const unlessGone = <Value>(asked: Promise<Value>, otherwise: Value): Promise<Value> =>
  asked.catch((error: unknown) => {
    if (error instanceof ProgramGone) return otherwise;
    throw error;
  });
