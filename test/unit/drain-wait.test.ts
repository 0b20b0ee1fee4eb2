// `mesh drain --wait`: when it is over, by what the mesh says of the host.
import { describe, expect, it } from "vitest";
import { untilDrained } from "../../services/cli/fleet/drain-wait.ts";
import { Failure } from "../../services/cli/outcome.ts";
import { createProgress } from "../../services/cli/terminal/progress.ts";
import type { HostView } from "../../shared/contracts/api.ts";
import { heartbeat } from "../support/heartbeats.ts";

const DRAIN = { kind: "draining", reason: null, deadlineMs: 1 } as const;
const WORK = [{ taskId: "t1", attempt: 1, nonce: "n" }];

const host = (overrides: Partial<HostView>): HostView => ({
  ...heartbeat({ hostId: "h1" }),
  online: true,
  lastSeenAt: new Date(0).toISOString(),
  wish: DRAIN,
  breaker: null,
  draining: true,
  ...overrides,
});

/** Shown one after the other, the last one for ever; what was said, and how it ended. */
async function wait(shown: HostView[], timeoutMs = 60_000) {
  const lines: string[] = [];
  const progress = createProgress(false, { write: (text: string) => lines.push(text) });
  const hosts = async () => {
    const [next] = shown.length > 1 ? shown.splice(0, 1) : shown;
    const data = next === undefined ? [] : [next];
    return { ok: true as const, value: { data, pauses: [], breakers: [], notices: [] } };
  };
  const { signal } = new AbortController();
  const ended = await untilDrained({ hosts }, { hostId: "h1", timeoutMs, progress, signal }).then(
    () => "empty",
    (error: unknown) => (error instanceof Failure ? error.message : String(error)),
  );
  return { ended, lines };
}

describe("waiting for a drain", () => {
  it("ends when nothing runs there and the host takes nothing any more, and tells what runs until then", async () => {
    const { ended, lines } = await wait([
      host({ wish: null, draining: false, attempts: WORK }),
      host({ attempts: WORK }),
      host({ draining: false, attempts: [] }),
      host({ attempts: [] }),
    ]);
    expect(ended).toBe("empty");
    expect(lines).toEqual(["h1 runs t1\n", "h1 runs nothing any more\n"]);
  });

  it.each<[string, HostView[]]>([
    ["is away", [host({ online: false, attempts: WORK })]],
    ["has left", []],
  ])("ends when the host %s", async (_, shown) => {
    expect((await wait(shown)).ended).toBe("empty");
  });

  it("fails after its time, naming what still runs", async () => {
    expect((await wait([host({ attempts: WORK })], 0)).ended).toBe("h1 is not empty after 0 ms: t1");
  });

  it("fails when the drain is taken back", async () => {
    const shown = [host({ attempts: WORK }), host({ wish: null, attempts: WORK })];
    expect((await wait(shown)).ended).toBe("h1 is drained no longer");
  });
});
