// What is known of a distro by its mark, and what is not known where wsl.exe was cut off.
import { expect, it } from "vitest";
import { hasMark } from "../../services/host-agent/wsl/mark.ts";
import type { InsideEnd } from "../../services/host-agent/wsl/wsl-commands.ts";

const markOf = (end: Partial<InsideEnd>) =>
  hasMark(
    async () => ({ ok: true, value: { exitCode: 0, stdout: Buffer.alloc(0), stderr: "", ...end } }),
    "d",
  );

it("a distro is ours by its mark, somebody else's by its word, and neither where it did not answer", async () => {
  expect(await markOf({ stdout: Buffer.from("agent-mesh distro\n") })).toEqual({ ok: true, value: true });
  expect(await markOf({ stdout: Buffer.from("it has none\n") })).toEqual({ ok: true, value: false });
  // As when its machine is lost meanwhile: 1 is also what a command says that has failed.
  expect(await markOf({ exitCode: 1 })).toMatchObject({ ok: false, failure: { reason: "unknown" } });
});
