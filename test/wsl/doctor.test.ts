// What `mesh doctor` sees of WSL, through the program that MESH_WSL_EXE names, our own fake if nothing.
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { judgeWsl } from "../../services/cli/doctor/wsl.ts";
import { readWsl } from "../../services/cli/doctor/wsl-reading.ts";
import { GOLDEN_DISTRO } from "../../services/host-agent/wsl/distro-layout.ts";
import { importIfMissing } from "../../services/host-agent/wsl/image/import.ts";
import {
  type FakeWindows,
  hasDistros,
  isOurFake,
  startFakeWindows,
  WSL_PROGRAM,
} from "../support/fake-wsl.ts";

describe("the doctor", () => {
  let windows: FakeWindows;
  beforeAll(() => {
    windows = startFakeWindows();
  });
  afterAll(() => windows[Symbol.asyncDispose]());
  // What a test's distro lacks is told, too: its disk is small, and it has no agents.
  const failures = async () =>
    judgeWsl(await readWsl(WSL_PROGRAM)).flatMap(({ check, verdict, found }) =>
      verdict !== "fail" || check === "disk of WSL" ? [] : [`${check}: ${found}`],
    );

  test("misses a distro of the mesh's own where there is none", async () => {
    expect(await failures()).toEqual([`distro: there is no ${GOLDEN_DISTRO} for this account`]);
  });

  test.skipIf(!hasDistros)(
    "finds no failure in one that was registered from an image of ours, which is done once",
    async () => {
      const image = { file: windows.image, distros: path.join(windows.folder, "distros") };
      expect(await importIfMissing(windows.wsl, image)).toMatchObject({
        ok: true,
        value: expect.any(String),
      });
      expect(await importIfMissing(windows.wsl, image)).toEqual({ ok: true, value: null });
      expect(await failures()).toEqual([]);
      const changed = await windows.wsl.run({
        distro: GOLDEN_DISTRO,
        user: "root",
        argv: [
          "/bin/sh",
          "-c",
          "printf '[interop]\\nenabled = true\\n' > /etc/wsl.conf; rm -f /usr/bin/bwrap",
        ],
      });
      expect(changed.ok).toBe(true);
      expect((await failures()).map((words) => words.split(":")[0])).toEqual([
        "interop",
        "drives",
        "bubblewrap",
      ]);
    },
  );

  test.skipIf(!isOurFake)(
    "tells of a service that is broken, an account without WSL, and one that hangs",
    async () => {
      windows.faults({ unexpected: true });
      expect(await failures()).toEqual([expect.stringContaining("E_UNEXPECTED")]);
      windows.faults({ code: "Wsl/WSL_E_LOCAL_SYSTEM_NOT_SUPPORTED" });
      expect(await failures()).toEqual([expect.stringContaining("WSL_E_LOCAL_SYSTEM_NOT_SUPPORTED")]);
      windows.faults({ hang: "-l" });
      expect(await failures()).toEqual([expect.stringContaining("did not end")]);
      windows.faults({});
    },
  );
});
