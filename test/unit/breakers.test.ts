import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FailureCategory } from "../../shared/contracts/failure.ts";
import { Breakers } from "../../shared/lifecycle/breakers.ts";
import { FoldedLog } from "../../shared/lifecycle/folded-log.ts";
import { fact } from "../support/facts.ts";

const PROBE_AFTER_MS = 60_000;

/** A log on which attempts begin and end on host h1 for one repository, a second after one another. */
function scene() {
  const breakers = new Breakers(PROBE_AFTER_MS);
  const log = new FoldedLog((folded) => breakers.apply(folded, "acme/shop"));
  let sequence = 0;
  const say = (taskId: string, kind: "requested" | "started" | "succeeded" | "faulted", body = {}) => {
    sequence++;
    log.apply({
      ...fact(sequence, kind, { after: sequence - 1, ...body }),
      taskId,
    });
  };
  return {
    breakers,
    nowMs: () => sequence * 1_000,
    begin: (taskId: string) => {
      say(taskId, "requested");
      say(taskId, "started");
    },
    fail: (taskId: string, category: FailureCategory) =>
      say(taskId, "faulted", { failure: { category, message: "no luck" } }),
    succeed: (taskId: string) => say(taskId, "succeeded"),
    host: (atMs: number) => breakers.state("host", "h1", atMs),
  };
}

function openedScene() {
  const opened = scene();
  for (const taskId of ["a", "b", "c"]) {
    opened.begin(taskId);
    opened.fail(taskId, "host");
  }
  return opened;
}

describe("a breaker", () => {
  it("is opened by three tasks in a row that failed one after the other", () => {
    const { host, nowMs } = openedScene();
    expect(host(nowMs())).toEqual({
      state: "open",
      sinceMs: nowMs(),
      why: "host: no luck",
      probeAtMs: nowMs() + PROBE_AFTER_MS,
      probe: null,
    });
    expect(host(nowMs() + PROBE_AFTER_MS)).toMatchObject({ state: "half-open" });
  });

  it("stays closed when what ran at once fails at once, as when a machine sleeps", () => {
    const { begin, fail, host, nowMs } = scene();
    const tasks = ["a", "b", "c", "d"];
    for (const taskId of tasks) begin(taskId);
    for (const taskId of tasks) fail(taskId, "host");
    expect(host(nowMs())).toBeNull();
  });

  it("lets one probe begin, closes when it succeeds, and waits twice as long when it fails", () => {
    const failing = openedScene();
    failing.begin("probe");
    expect(failing.host(failing.nowMs())).toMatchObject({ state: "half-open", probe: "probe" });
    failing.fail("probe", "lost");
    expect(failing.host(failing.nowMs())).toMatchObject({
      state: "open",
      probeAtMs: failing.nowMs() + 2 * PROBE_AFTER_MS,
    });
    failing.begin("second");
    failing.succeed("second");
    expect(failing.host(failing.nowMs())).toBeNull();
  });

  it("is closed by an attempt whose own command failed: the host has done its part", () => {
    const { begin, fail, host, nowMs } = openedScene();
    begin("probe");
    fail("probe", "agent");
    expect(host(nowMs())).toBeNull();
  });

  it("is offered another probe when the first was called off", () => {
    const { begin, fail, host, nowMs } = openedScene();
    begin("probe");
    fail("probe", "preempted");
    expect(host(nowMs() + PROBE_AFTER_MS)).toMatchObject({ state: "half-open", probe: null });
  });

  it("of a repository is opened by what cannot be fetched, which says nothing of the host", () => {
    const { begin, fail, host, breakers, nowMs } = scene();
    for (const taskId of ["a", "b", "c"]) {
      begin(taskId);
      fail(taskId, "source");
    }
    expect(breakers.state("repository", "acme/shop", nowMs())).toMatchObject({ state: "open" });
    expect(host(nowMs())).toBeNull();
  });

  it("is never open after a success, nor before three tasks have failed since", () => {
    const outcome = fc.constantFrom("succeed", "host", "source", "agent", "preempted", "lost");
    fc.assert(
      fc.property(fc.array(outcome, { maxLength: 30 }), (outcomes) => {
        const { begin, fail, succeed, host, nowMs } = scene();
        let failures = 0;
        for (const [index, what] of outcomes.entries()) {
          begin(`t${index}`);
          if (what === "succeed") succeed(`t${index}`);
          else fail(`t${index}`, what);
          if (what === "succeed" || what === "agent") failures = 0;
          if (what === "host" || what === "lost") failures++;
          expect(host(nowMs()) !== null).toBe(failures >= 3);
        }
      }),
    );
  });
});
