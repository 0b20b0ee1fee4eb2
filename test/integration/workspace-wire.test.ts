// What a host agent and the program that makes trees elsewhere say to one another, however their pipe cuts it, and
// whoever speaks at the same time.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Hello } from "../../services/host-agent/guest/protocol.ts";
import type { GuestProcess } from "../../services/host-agent/supervisor/supervisor-link.ts";
import { type RemoteTimes, remoteWorkspaces } from "../../services/host-agent/workspace/remote.ts";
import {
  encodeLine,
  type FromHost,
  type FromProgram,
  LineDecoder,
} from "../../services/host-agent/workspace/wire.ts";

it("lines, and the bytes that follow some of them, come out as they went in, wherever they are cut", () => {
  const bytes = fc.uint8Array({ maxLength: 300 }).map((part) => Buffer.from(part));
  fc.assert(
    fc.property(
      fc.array(bytes, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 40 })),
      (patches, cuts) => {
        const tree = { workTree: "/w", gitDir: "/g", home: "/h", temporary: "/t" };
        const sent = patches.flatMap((patch, id) => [
          encodeLine({ id, call: "applyPatch", tree, gitDir: "/g\n", bytes: patch.length }),
          patch,
          encodeLine({ id, abort: true }),
        ]);
        const heard: string[] = [];
        let taken = Buffer.alloc(0);
        const decoder = new LineDecoder<FromHost>(
          (message) => {
            heard.push("abort" in message ? "abort" : "call");
            return "call" in message && message.call === "applyPatch" ? message.bytes : 0;
          },
          (part) => {
            taken = Buffer.concat([taken, part]);
          },
        );
        let rest = Buffer.concat(sent);
        for (let cut = 0; rest.length > 0; cut++) {
          const length = cuts[cut % Math.max(1, cuts.length)] ?? rest.length;
          decoder.push(rest.subarray(0, length));
          rest = rest.subarray(length);
        }
        expect(heard).toEqual(patches.flatMap(() => ["call", "abort"]));
        expect(taken).toEqual(Buffer.concat(patches));
      },
    ),
  );
});

it("a line without an end is refused before it fills the memory", () => {
  const decoder = new LineDecoder<FromHost>(() => 0);
  const endless = Buffer.alloc(1_048_576, "x");
  expect(() => {
    for (let part = 0; part < 6; part++) decoder.push(endless);
  }).toThrow("a line of more than 4194304 bytes");
});

const TREE = { workTree: "/w", gitDir: "/g", home: "/h", temporary: "/t" };

/** The host's end of the line, and what came out at the other one. */
function hostEnd({ times }: { times?: RemoteTimes } = {}) {
  const heard: FromHost[] = [];
  let taken = Buffer.alloc(0);
  const decoder = new LineDecoder<FromHost>(
    (message) => {
      heard.push(message);
      return "call" in message && message.call === "applyPatch" ? message.bytes : 0;
    },
    (part) => {
      taken = Buffer.concat([taken, part]);
    },
  );
  let tell: (message: FromProgram) => void = () => {};
  let begun = 0;
  const ended: string[] = [];
  const process: GuestProcess = {
    finished: new Promise(() => {}),
    write: (bytes) => decoder.push(bytes),
    endStdin() {},
    signal: (name) => void ended.push(name),
  };
  const workspaces = remoteWorkspaces({
    guest: {
      hello: () => ({ supervisor: "s" }) as Hello,
      serve(_, onOutput) {
        begun++;
        tell = (message) => onOutput("stdout", encodeLine(message));
        return process;
      },
    },
    folder: "/f",
    allowFileClones: false,
    isWorkRoot: true,
    ...(times && { times }),
    log: pino({ enabled: false }),
  });
  return {
    workspaces,
    heard,
    taken: () => taken,
    tell: (message: FromProgram) => tell(message),
    begun: () => begun,
    ended,
  };
}

it("a patch arrives whole, whatever others ask for while it is sent", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-wire-"));
  try {
    const file = path.join(folder, "patch");
    const patch = Buffer.alloc(300_000, "+line\n");
    writeFileSync(file, patch);
    const { workspaces, heard, taken, tell } = hostEnd();
    const stopped = new AbortController();
    const asking = setInterval(() => void workspaces.readings(), 0);
    const applied = workspaces.applyPatch(TREE, { file, gitDir: "/g" }, stopped.signal);
    await expect.poll(() => taken().length).toBe(patch.length);
    stopped.abort();
    clearInterval(asking);
    const [asked] = heard.flatMap((message) =>
      "call" in message && message.call === "applyPatch" ? [message.id] : [],
    );
    tell({ id: asked ?? 0, value: { ok: true } });
    expect(await applied).toEqual({ ok: true });
    expect(taken().equals(patch)).toBe(true);
    expect(heard.at(-1)).toEqual({ id: asked, abort: true });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

describe("a program that hangs", () => {
  const times = { quick: 100, remove: 100, abort: 100 };
  const hung = { message: expect.stringContaining("did not answer within 100 ms") as string };

  it("is ended and begun anew, and whoever waits for it is told", async () => {
    const { workspaces, heard, tell, begun, ended } = hostEnd({ times });
    const asked = [workspaces.readings(), workspaces.programs.look("claude", undefined)];
    for (const answer of await Promise.allSettled(asked)) expect(answer).toMatchObject({ reason: hung });
    expect({ begun: begun(), ended }).toEqual({ begun: 1, ended: ["SIGKILL"] });
    expect(await workspaces.isDiskFull()).toBe(false);
    const removed = workspaces.remove("a");
    await expect.poll(() => begun()).toBe(4);
    const ids = heard.flatMap((one) => ("call" in one ? [one.id] : []));
    const id = ids.at(-1) ?? 0;
    tell({ id, value: undefined });
    await removed;
    expect(ended.length).toBe(3);
  });

  it("keeps nobody who was told to stop, and an attempt is told that its host is at fault", async () => {
    const { workspaces, begun } = hostEnd({ times });
    const stop = new AbortController();
    const wanted = {} as Parameters<typeof workspaces.prepare>[0];
    const prepared = workspaces.prepare(wanted, stop.signal);
    // As long as nobody stops it, it may take long.
    await delay(300);
    expect(begun()).toBe(1);
    stop.abort();
    expect(await prepared).toMatchObject({ ok: false, category: "host", ...hung });
    const applied = workspaces.applyPatch(TREE, { file: "/dev/null", gitDir: "/g" }, AbortSignal.timeout(50));
    expect(await applied).toMatchObject({ ok: false, category: "host", ...hung });
  });
});

describe("credentials of this machine", () => {
  const ABOUT = "protocol=https\nhost=example.com\n";
  const SECRET = expect.stringContaining("password=open sesame") as string;
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), "mesh-credentials-"));
    const config = path.join(folder, "config");
    writeFileSync(
      config,
      "[credential]\n\thelper = \"!f() { echo username=me; echo 'password=open sesame'; }; f\"\n",
    );
    vi.stubEnv("GIT_CONFIG_GLOBAL", config);
  });
  afterAll(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });

  it("are told for the tree that is made, and to nobody once work may be root there", async () => {
    const { workspaces, heard, tell } = hostEnd();
    const idOf = (index: number) => heard.flatMap((one) => ("call" in one ? [one.id] : []))[index] ?? 0;
    const prepare = () => workspaces.prepare({} as Parameters<typeof workspaces.prepare>[0], signal);
    const { signal } = new AbortController();
    void workspaces.isDiskFull();
    tell({ credential: 1, action: "get", text: ABOUT });
    await expect.poll(() => heard.at(-1)).toEqual({ credential: 1, text: "" });
    const first = prepare();
    await expect.poll(() => idOf(1)).toBeGreaterThan(0);
    tell({ credential: 2, action: "get", text: ABOUT });
    await expect.poll(() => heard.at(-1)).toEqual({ credential: 2, text: SECRET });
    tell({ id: idOf(1), value: { ok: false } });
    await first;
    void prepare();
    await expect.poll(() => idOf(2)).toBeGreaterThan(0);
    tell({ credential: 3, action: "get", text: ABOUT });
    await expect.poll(() => heard.at(-1)).toEqual({ credential: 3, text: "" });
  });
});
