import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { tailLog } from "../../services/cli/host/log-tail.ts";
import { openLogFile } from "../../shared/service/log-file.ts";

it("the last lines of a log come first, then whatever is written, through a change of its piece", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-tail-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "host.log");
  const log = openLogFile(file, 50);
  for (let number = 1; number < 5; number++) log.write(`line ${number}\n`);
  let seen = "";
  const end = new AbortController();
  const how = { lines: 2, follow: true, signal: end.signal };
  const tail = tailLog(file, how, (text) => void (seen += text));
  await vi.waitFor(() => expect(seen).toBe("line 3\nline 4\n"), 20_000);
  for (let number = 5; number < 10; number++) {
    log.write(`line ${number}\n`);
    await vi.waitFor(() => expect(seen).toContain(`line ${number}\n`), 20_000);
  }
  end.abort();
  await tail;
  expect(seen).toBe([3, 4, 5, 6, 7, 8, 9].map((number) => `line ${number}\n`).join(""));
  await expect(tailLog(`${file}.none`, how, () => {})).rejects.toMatchObject({ code: "ENOENT" });
});
