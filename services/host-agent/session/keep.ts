// Keeps checkpoints of an attempt while its agent works: after a turn, its session, then its work. It must never delay
// the agent, nor fail or end it: what cannot be kept is not kept, and the log says so once.
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { CheckpointOwner } from "../../../shared/bus/checkpoints.ts";
import type { Bus } from "../../../shared/bus/connect.ts";
import {
  CHECKPOINT_CHUNK_BYTES,
  CHECKPOINT_MAX_BYTES,
  CHECKPOINT_PART_MAX_BYTES,
  type CheckpointRecord,
  CheckpointSlot,
  checkpointSubject,
  chunkPart,
  RECORD_PART,
} from "../../../shared/contracts/checkpoint.ts";
import type { Instance } from "../attempt/instance.ts";
import type { Redactor } from "../redaction.ts";
import type { RunSpec, SessionRules } from "../runner/runner.ts";
import { namesLargeFiles } from "../workspace/large-files.ts";

export interface KeepOptions {
  bus: Bus;
  owner: CheckpointOwner;
  about: Pick<CheckpointRecord, "sha" | "runner">;
  rules: SessionRules;
  instance: Instance;
  redactor: Redactor;
  /** What is taken in the instance needs memory that the agent may have use for. */
  hasRoom(): boolean;
  /** Told once of each reason why none is kept. */
  onProblem(words: string): void;
}

type Done = Parameters<NonNullable<RunSpec["session"]>["onDone"]>[0];

export interface CheckpointKeeper {
  /** Something that the model asked for has been done. */
  done(what: Done): void;
  /** The agent has ended. `last`: what it has come to is still kept; what is under way is given up otherwise. */
  end(options: { last: boolean }): Promise<void>;
}

/** Between two of them there is so long at least, ms, and so many times what the one before took. */
const PAUSE_MS = 1_000;
const PAUSE_TIMES = 10;
/** An agent that has not written down what it has told is looked at again so often. */
const LOOKS = 5;
const PUBLISH_MS = 5_000;

/** Nothing, of one that is not there yet. */
const READ = ["/bin/sh", "-c", 'test ! -e "$1" || exec cat -- "$1"', "sh"];

const compress = promisify(gzip);

/** To look at it again would change nothing. */
class Unkeepable extends Error {}

export function keepCheckpoints(options: KeepOptions): CheckpointKeeper {
  const { bus, owner, about, rules, instance, redactor } = options;
  const ending = new AbortController();
  const waiting = new AbortController();
  const told = new Set<string>();
  let wanted: Done | null = null;
  let working: Promise<void> | null = null;
  let kept = 0;
  let slots = 0;

  const tell = (words: string) => {
    if (!told.has(words)) options.onProblem(`no checkpoint is kept: ${words}`);
    told.add(words);
  };

  async function work(): Promise<void> {
    let looks = 0;
    while (wanted !== null && !ending.signal.aborted) {
      const done: Done = wanted;
      wanted = null;
      const beganMs = performance.now();
      // Whatever is wrong with it is no matter of the agent's.
      const problem = await take(done).catch((error: unknown) => {
        if (error instanceof Unkeepable) looks = LOOKS;
        return error instanceof Error ? error.message : String(error);
      });
      looks = problem === null ? 0 : looks + 1;
      if (problem !== null && looks < LOOKS) wanted ??= done;
      else if (problem !== null && !ending.signal.aborted) tell(problem);
      const pauseMs = Math.max(PAUSE_MS, PAUSE_TIMES * (performance.now() - beganMs));
      await delay(pauseMs, undefined, { signal: waiting.signal, ref: false }).catch(() => {});
    }
  }

  /** Null once it is kept, or need not be; else why it has to be looked at again. */
  async function take({ sessionId, toolId }: Done): Promise<string | null> {
    if (bus.connectedSince() === null || !options.hasRoom()) return null;
    const file = `${instance.home}/${rules.fileOf(sessionId, instance.workTree)}`;
    // The session first: of what it tells of, the work must not lack anything.
    const read = await takePart({ argv: [...READ, file], env: {} }, "its session");
    const { whole, toolIds } = rules.read(redactor.text(read.toString()));
    if (whole !== null && whole.turns > kept) await keep(sessionId, whole);
    return toolIds.has(toolId) ? null : "its agent does not write down what it does";
  }

  async function keep(sessionId: string, whole: { text: string; turns: number }): Promise<void> {
    const patch = await takePart(instance.passingPatch, "its work");
    if (redactor.finder()(patch)) throw new Unkeepable("its work holds a secret of this host");
    if (namesLargeFiles(patch))
      throw new Unkeepable("its work has files of Git LFS, which a patch only names");
    const parts = [await compress(whole.text), await compress(patch)] as const;
    const bytes = Buffer.concat(parts);
    if (bytes.length > CHECKPOINT_MAX_BYTES)
      throw new Unkeepable(`it would have ${bytes.length} bytes; ${CHECKPOINT_MAX_BYTES} are allowed`);
    ending.signal.throwIfAborted();
    const [session, work] = parts;
    await publish(bytes, {
      ...{ ...about, sessionId, turns: whole.turns, workTree: instance.workTree },
      ...{ sessionBytes: session.length, patchBytes: work.length },
    });
    kept = whole.turns;
  }

  async function takePart(command: Parameters<Instance["call"]>[0], what: string): Promise<Buffer> {
    const maxBytes = CHECKPOINT_PART_MAX_BYTES;
    const { exit, output, complaint } = await instance.call(command, { maxBytes, signal: ending.signal });
    if (output === null) throw new Unkeepable(`${what} has more than ${maxBytes} bytes`);
    if (exit.exitCode === 0) return output;
    throw new Error(`${what} could not be taken: ${redactor.text(complaint.trim())}`);
  }

  async function publish(bytes: Buffer, record: Omit<CheckpointRecord, "chunks" | "sha256">): Promise<void> {
    const slot = CheckpointSlot.options[slots % CheckpointSlot.options.length] ?? "a";
    const put = (part: string, payload: string | Uint8Array) =>
      bus.js.publish(
        checkpointSubject.build({ ...owner, attempt: String(owner.attempt), slot, part }),
        payload,
        { timeout: PUBLISH_MS },
      );
    try {
      let chunks = 0;
      for (let at = 0; at < bytes.length; at += CHECKPOINT_CHUNK_BYTES) {
        // By a slow line all of them would be long in coming, and nobody needs them any more.
        ending.signal.throwIfAborted();
        await put(chunkPart(chunks++), bytes.subarray(at, at + CHECKPOINT_CHUNK_BYTES));
      }
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      await put(RECORD_PART, JSON.stringify({ ...record, chunks, sha256 } satisfies CheckpointRecord));
      slots++;
    } catch {
      throw new Error("the bus did not take it");
    }
  }

  return {
    done(what) {
      if (ending.signal.aborted) return;
      wanted = what;
      working ??= work().finally(() => {
        working = null;
      });
    },
    async end({ last }) {
      waiting.abort();
      if (!last) ending.abort();
      await working;
      ending.abort();
    },
  };
}
