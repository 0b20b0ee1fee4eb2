// How the clock of a distro that is wrong is set.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pino } from "pino";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { watchClock } from "../../services/host-agent/wsl/clock-watch.ts";

describe("a distro's clock that is wrong", () => {
  it("is set by that of its machine first, and by this machine's where that has not helped", () => {
    vi.useFakeTimers({ now: 1_800_000_000_000 });
    onTestFinished(() => void vi.useRealTimers());
    const asked: string[][] = [];
    const watch = watchClock({
      distro: "agent-mesh-golden",
      aheadMs: () => -90_000,
      wsl: {
        async run({ argv }) {
          asked.push(argv);
          return { ok: true, value: { exitCode: 0, stdout: Buffer.alloc(0), stderr: "" } };
        },
      },
      log: pino({ level: "silent" }),
    });
    onTestFinished(() => watch[Symbol.dispose]());
    vi.advanceTimersByTime(20_000);
    expect(asked).toHaveLength(2);

    const folder = mkdtempSync(path.join(tmpdir(), "mesh-clock-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const said = path.join(folder, "said");
    for (const name of ["hwclock", "date"])
      writeFileSync(path.join(folder, name), `#!/bin/sh\necho ${name} "$@" >> ${said}\n`, { mode: 0o755 });
    for (const [program = "", ...args] of asked) execFileSync(program, args, { env: { PATH: folder } });
    expect(readFileSync(said, "utf8")).toBe("hwclock -s\ndate -u -s @1800000020.000\n");
  });
});
