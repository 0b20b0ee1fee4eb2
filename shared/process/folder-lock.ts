// Keeps two processes off one folder that only one of them may use. The lock belongs to living processes: one left
// behind by dead ones is taken over, a held one must never be.
import { createHash, randomUUID } from "node:crypto";
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { processIdentity } from "./process-identity.ts";
import { systemErrorCode } from "./system-error.ts";

const Holder = z.object({ pid: z.int().positive(), identity: z.string() });
type Holder = z.infer<typeof Holder>;

const LockRecord = z.object({ id: z.string(), holders: z.array(Holder) });
type LockRecord = z.infer<typeof LockRecord>;

const CLAIM_POLL_MS = 5;

export interface FolderLock {
  /** From now on the lock is held for as long as this process lives, whoever took it. */
  handTo(pid: number): Promise<void>;
  release(): Promise<void>;
}

export type LockOutcome =
  | { readonly ok: true; readonly lock: FolderLock }
  | { readonly ok: false; readonly heldBy: number; readonly file: string };

/** Takes the lock `name` in the folder for this process, or says which living process holds it. */
export async function lockFolder(folder: string, name: string): Promise<LockOutcome> {
  const file = join(folder, name);
  const id = randomUUID();
  const us = await holder(process.pid);
  const record = { id, holders: [us] };
  for (;;) {
    if (await createWhole(file, JSON.stringify(record))) return { ok: true, lock: heldLock(file, id) };
    const text = await readIfThere(file);
    if (text === undefined) continue;
    const living = await livingHolder(text);
    if (living !== undefined) return { ok: false, heldBy: living.pid, file };
    await removeStale(file, text, us);
  }
}

/** The living process that holds the lock `name` of the folder; null when nobody does. */
export async function holderOf(folder: string, name: string): Promise<number | null> {
  return (await livingHolder((await readIfThere(join(folder, name))) ?? ""))?.pid ?? null;
}

function heldLock(file: string, id: string): FolderLock {
  const isOurs = async () => parseRecord((await readIfThere(file)) ?? "")?.id === id;
  return {
    async handTo(pid) {
      await writeFile(`${file}.${id}`, JSON.stringify({ id, holders: [await holder(pid)] }), { mode: 0o600 });
      await rename(`${file}.${id}`, file);
    },
    async release() {
      if (await isOurs()) await rm(file, { force: true });
    },
  };
}

/** A file that comes into being with its content or not at all: `link` fails when the name is taken. */
async function createWhole(file: string, text: string): Promise<boolean> {
  const draft = `${file}.${randomUUID()}`;
  await writeFile(draft, text, { mode: 0o600, flag: "wx" });
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/**
 * Removes the lock of the dead. Of several who find it, one at a time may: the living one with the latest claim on
 * this very lock. Otherwise the slow ones would remove the lock that the quick one has taken meanwhile.
 */
async function removeStale(file: string, staleText: string, us: Holder): Promise<void> {
  const claims = `${file}.${createHash("sha256").update(staleText).digest("hex").slice(0, 16)}`;
  const ours = JSON.stringify({ id: randomUUID(), holders: [us] });
  let turn = 1;
  while (!(await createWhole(`${claims}.${turn}`, ours))) {
    const other = await readIfThere(`${claims}.${turn}`);
    // Somebody is at it, or has just been: look again what the lock says.
    if (other === undefined || (await livingHolder(other)) !== undefined) {
      await delay(CLAIM_POLL_MS);
      return;
    }
    turn++;
  }
  if ((await readIfThere(file)) === staleText) await rm(file, { force: true });
  for (; turn > 0; turn--) await rm(`${claims}.${turn}`, { force: true });
}

async function livingHolder(text: string): Promise<Holder | undefined> {
  for (const candidate of parseRecord(text)?.holders ?? []) {
    if ((await processIdentity(candidate.pid)) === candidate.identity) return candidate;
  }
  return undefined;
}

async function holder(pid: number): Promise<Holder> {
  return { pid, identity: (await processIdentity(pid)) ?? "ended" };
}

/** A lock that cannot be read was cut short by a power failure, and nobody of that time lives. */
function parseRecord(text: string): LockRecord | undefined {
  try {
    return LockRecord.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
