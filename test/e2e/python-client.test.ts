// A client in another language, with nothing but a NATS library and docs/protocol.md.
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { startUp } from "../support/mesh-program.ts";
import { findPython } from "../support/python.ts";
import { makeRepository } from "../support/repository.ts";

const SCRIPT = path.resolve(import.meta.dirname, "../support/orchestrator.py");
const python = await findPython();

const Fact = z.object({ taskId: z.string(), kind: z.string(), speaker: z.string(), body: z.unknown() });
type Fact = z.infer<typeof Fact>;

describe.skipIf(python === null)("an orchestrator in Python", () => {
  it("submits a task and reads its facts, appends another to the log and cancels it", async () => {
    await using up = await startUp(["--hosts", "1"]);
    using repository = makeRepository();
    const { url: cloneUrl, branch, headSha: sha } = repository;
    const request = {
      type: "pr_deployment",
      repository: "acme/shop",
      ...{ branch, sha, cloneUrl },
      run: { command: "cat feature.txt" },
      checks: ["test -f feature.txt"],
    };
    const { stdout } = await promisify(execFile)(
      python?.program ?? "",
      ["-B", SCRIPT, JSON.stringify(request)],
      { env: { PATH: process.env.PATH, PYTHONPATH: python?.modules, NATS_URL: up.ready.natsUrl } },
    );
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => z.record(z.string(), z.unknown()).parse(JSON.parse(line)));
    const told = (what: string) => lines.find((line) => what in line)?.[what];
    const facts = lines.flatMap(({ fact }): Fact[] => (fact === undefined ? [] : [Fact.parse(fact)]));
    const of = (wanted: string) =>
      facts.filter(({ taskId }) => taskId === wanted).map(({ kind, speaker }) => `${kind}.${speaker}`);

    expect(told("submitted")).toMatchObject({ taskId: "from-python", branch, sha });
    expect(of("from-python")).toStrictEqual(["requested.normal", "started.local-1", "succeeded.local-1"]);
    expect(told("result")).toMatchObject({
      state: "succeeded",
      hostId: "local-1",
      result: { exitCode: 0, checks: [{ verdict: "confirmed" }] },
    });
    expect(told("refused")).toBe(10_071);
    expect(told("cancelled")).toStrictEqual({ cancelled: ["on-the-log"] });
    expect(new Set(of("on-the-log"))).toStrictEqual(
      new Set([
        "requested.high",
        "started.local-1",
        "cancelRequested.control",
        "faulted.local-1",
        "cancelled.control",
      ]),
    );
    expect(facts.at(-1)?.body).toMatchObject({ attempt: 1, reason: "seen enough" });
    expect(told("unknown field")).toStrictEqual({
      code: "bad_request",
      message: 'unknown field "priorty"; did you mean "priority"?',
    });
  });
});
