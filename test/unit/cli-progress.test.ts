// Live progress: one line that is drawn again in a terminal, plain lines elsewhere.
import { afterEach, describe, expect, it, vi } from "vitest";
import { createProgress } from "../../services/cli/terminal/progress.ts";

afterEach(() => vi.unstubAllEnvs());

function outputOf(terminal: { isTTY?: boolean; columns?: number }) {
  const written: string[] = [];
  return { written, write: (text: string) => written.push(text), ...terminal };
}

describe("progress", () => {
  it("in a terminal is one line, drawn over and cut to its width, and gone in the end", () => {
    vi.stubEnv("TERM", "xterm");
    const output = outputOf({ isTTY: true, columns: 11 });
    using progress = createProgress(false, output);
    progress.draw("queued on local-1");
    progress.draw("queued on local-1");
    progress.say("a line to keep");
    progress[Symbol.dispose]();
    const erase = "\r\u001b[2K";
    expect(output.written).toEqual(["queued on…", erase, "a line to keep\nqueued on…", erase]);
  });

  it("in a terminal that nobody has sized is not cut to nothing", () => {
    vi.stubEnv("TERM", "xterm");
    const output = outputOf({ isTTY: true, columns: 0 });
    using progress = createProgress(false, output);
    progress.draw("queued on local-1");
    expect(output.written).toEqual(["queued on local-1"]);
  });

  it.each([
    ["a pipe", {}, "xterm"],
    ["a dumb terminal", { isTTY: true }, "dumb"],
  ])("in %s is plain lines alone", (_, terminal, term) => {
    vi.stubEnv("TERM", term);
    const output = outputOf(terminal);
    using progress = createProgress(false, output);
    progress.draw("queued on local-1");
    progress.say("running");
    expect(output.written).toEqual(["running\n"]);
  });

  it("is silent when it shall be quiet", () => {
    const output = outputOf({ isTTY: true });
    using progress = createProgress(true, output);
    progress.draw("queued");
    progress.say("running");
    expect(output.written).toEqual([]);
  });
});
