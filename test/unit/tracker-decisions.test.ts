import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decide, type Situation } from "../../services/status-tracker/decide.ts";
import { Presence } from "../../services/status-tracker/presence.ts";
import { recordOf, type TaskRecord } from "../../services/status-tracker/record.ts";
import { afterFailure, longestWaitMs } from "../../services/status-tracker/retry.ts";
import { PullRequests, type PullRequestTask } from "../../services/status-tracker/supersede.ts";
import { RETRY_DEFAULTS, retryTable } from "../../shared/config/retry-table.ts";
import { DEFAULT_SETTINGS } from "../../shared/config/settings.ts";
import type { Fact } from "../../shared/contracts/fact.ts";
import { type Failure, FailureCategory } from "../../shared/contracts/failure.ts";
import { fold } from "../../shared/lifecycle/fold.ts";
import { anyFact, fact, numbered } from "../support/facts.ts";
import { heartbeat } from "../support/heartbeats.ts";

const record = (...facts: Fact[]): TaskRecord => recordOf(facts) as TaskRecord;
const situation = (overrides: Partial<Situation> = {}): Situation => ({
  brokerNowMs: 10_000,
  lost: null,
  takesStrangers: false,
  chance: 0.5,
  settings: DEFAULT_SETTINGS,
  emptyAtMs: null,
  supersededBy: null,
  retries: RETRY_DEFAULTS,
  ...overrides,
});
const queued = () => [fact(1, "requested")];
const running = () => [...queued(), fact(2, "started", { after: 1 })];

describe("what the tracker says next", () => {
  it("is nothing about a task that is queued or runs well", () => {
    expect(decide(record(...queued()), situation())).toEqual({ act: "nothing" });
    expect(decide(record(...running()), situation())).toEqual({ act: "nothing" });
  });

  it("is that a fork's request is rejected, where no host takes the work of strangers", () => {
    const fork = fact(1, "requested");
    Object.assign(fork.body, { fork: true });
    expect(decide(record(fork), situation())).toMatchObject({ act: "say", fact: { kind: "rejected" } });
    expect(decide(record(fork), situation({ takesStrangers: true }))).toEqual({ act: "nothing" });
  });

  it("is a retry after a retryable fault, and the end after any other", () => {
    const faulted = (category: "host" | "agent") =>
      record(...running(), fact(3, "faulted", { after: 2, failure: { category, message: "" } }));
    expect(decide(faulted("host"), situation())).toMatchObject({
      fact: { kind: "deferred", body: { failures: 1 } },
    });
    expect(decide(faulted("agent"), situation())).toMatchObject({
      fact: { kind: "failed", body: { exhausted: false } },
    });
  });

  it("is that a lost attempt's task is queued again, and failed once no attempts are left", () => {
    expect(decide(record(...running()), situation({ lost: "silent" }))).toMatchObject({
      fact: { kind: "requeued", body: { reason: "lost", attempt: 1, failures: 1, after: 2 } },
    });
    const last = fact(1, "requested");
    Object.assign(last.body, { maxAttempts: 1 });
    const exhausted = decide(record(last, fact(2, "started", { after: 1 })), situation({ lost: "absent" }));
    expect(exhausted).toMatchObject({ fact: { kind: "failed", body: { lost: true, exhausted: true } } });
  });

  it("is a stop when an attempt runs on for long after its time-out, by the broker's clock", () => {
    const requested = fact(1, "requested");
    Object.assign(requested.body, { timeoutMs: 60_000 });
    const started = fact(2, "started", { after: 1 });
    const overdue = record(requested, started);
    const latest = started.timeMs + 60_000 + 300_000;
    expect(decide(overdue, situation({ brokerNowMs: latest }))).toEqual({ act: "nothing" });
    expect(decide(overdue, situation({ brokerNowMs: latest + 1 }))).toEqual({
      act: "stop",
      hostId: "h1",
      order: { taskId: "t1", attempt: 1, reason: "timeout" },
    });
  });

  it("is a stop while a cancelled task's attempt may act, and its end once it is lost or over", () => {
    const cancelling = [...running(), fact(3, "cancelRequested", { after: 2 })];
    expect(decide(record(...cancelling), situation())).toMatchObject({ act: "stop", hostId: "h1" });
    expect(decide(record(...cancelling), situation({ lost: "silent" }))).toMatchObject({
      fact: { kind: "cancelled", body: { lost: true } },
    });
    expect(decide(record(...cancelling, fact(4, "faulted", { after: 3 })), situation())).toMatchObject({
      fact: { kind: "cancelled", body: { lost: false } },
    });
  });

  it("always fits what is true: the fold counts it", () => {
    fc.assert(
      fc.property(
        fc.array(anyFact, { minLength: 1, maxLength: 30 }).map(numbered),
        fc.constantFrom(null, "absent" as const, "silent" as const),
        fc.constantFrom(null, "t2"),
        (log, lost, supersededBy) => {
          const known = recordOf(log) as TaskRecord;
          const decision = decide(
            known,
            situation({ lost, supersededBy, brokerNowMs: Number.MAX_SAFE_INTEGER }),
          );
          if (decision.act !== "say") return;
          expect(decision.fact.body.after).toBe(known.lifecycle.lastSequence);
          const said = { ...decision.fact, sequence: known.lifecycle.lastSequence + 1, timeMs: 0 };
          expect(fold(known.lifecycle, said).counted).toBe(true);
        },
      ),
    );
  });
});

describe("an attempt on a host that is drained", () => {
  it("goes on until the deadline, is stopped then, and is requeued without a failure", () => {
    const at = (emptyAtMs: number) => decide(record(...running()), situation({ emptyAtMs }));
    expect(at(10_001)).toEqual({ act: "nothing" });
    expect(at(10_000)).toMatchObject({ act: "stop", order: { attempt: 1, reason: "preempted" } });
    const failure = { category: "preempted" as const, message: "" };
    const stopped = record(...running(), fact(3, "faulted", { after: 2, failure }));
    expect(decide(stopped, situation())).toMatchObject({
      act: "say",
      fact: { kind: "requeued", body: { failures: 0 } },
    });
  });
});

describe("retries", () => {
  const after = (failure: Partial<Failure>, failures = 0, chance = 1, table = RETRY_DEFAULTS) =>
    afterFailure({ category: "host", message: "", ...failure }, failures, 3, chance, table);

  it("have a rule for each category, and wait by chance, no longer than the doubled base and the cap", () => {
    for (const category of FailureCategory.options) expect(RETRY_DEFAULTS[category]).toBeDefined();
    expect([1, 2, 3, 20].map((failures) => longestWaitMs(RETRY_DEFAULTS.host, failures))).toEqual([
      1_000, 2_000, 4_000, 60_000,
    ]);
    expect(after({}, 1, 0.25)).toEqual({ next: "defer", failures: 2, delayMs: 500, reason: "retry" });
  });

  it("come at once after a host that went away, and count no preemption", () => {
    expect(after({ category: "lost" })).toEqual({ next: "requeue", failures: 1 });
    expect(after({ category: "preempted" }, 2)).toEqual({ next: "requeue", failures: 2 });
  });

  it("never count a quota, and wait as long as the provider says, whatever chance says", () => {
    const parked = { next: "defer", failures: 2, reason: "quota" };
    expect(after({ category: "quota" }, 2, 0)).toEqual({ ...parked, delayMs: 300_000 });
    expect(after({ category: "quota", retryAfterMs: 7_200_000 }, 2, 0)).toEqual({
      ...parked,
      delayMs: 7_200_000,
    });
    expect(after({ category: "quota", retryAfterMs: 9e9 }, 2, 0)).toMatchObject({ delayMs: 86_400_000 });
  });

  it("never repeat what is permanent", () => {
    expect(after({ category: "source", permanent: true })).toMatchObject({ next: "fail" });
  });

  it("follow the configuration where it differs from the defaults", () => {
    const table = retryTable({ agent: { retryable: true }, host: { baseMs: 10_000 } });
    expect(after({ category: "agent" }, 0, 1, table)).toMatchObject({ next: "defer", delayMs: 1_000 });
    expect(after({}, 0, 1, table)).toMatchObject({ delayMs: 10_000 });
    expect(after({ category: "gate" }, 0, 1, table)).toMatchObject({ next: "fail", exhausted: false });
  });
});

describe("presence", () => {
  const SILENCE = 15_000;
  const task = record(...running()).lifecycle;
  const listing = (overrides = {}) =>
    heartbeat({ counter: 2, attempts: [{ taskId: "t1", attempt: 1, nonce: "n1" }], ...overrides });

  it("calls an attempt absent when a later heartbeat of its installation does not list it", () => {
    const presence = new Presence(SILENCE, 0);
    presence.hear(listing(), 0, 0);
    expect(presence.gone("t1", task, 1)).toBeNull();
    presence.hear(listing({ counter: 3, attempts: [] }), 0, 1);
    expect(presence.gone("t1", task, 1)).toBe("absent");
  });

  it("does not take the heartbeat that `started` names, or an earlier one, for absence", () => {
    const presence = new Presence(SILENCE, 0);
    presence.hear(heartbeat({ counter: 1 }), 0, 0);
    expect(presence.gone("t1", task, 1)).toBeNull();
  });

  it("does not let another machine with the same id speak for it", () => {
    const presence = new Presence(SILENCE, 0);
    presence.hear(listing(), 0, 0);
    presence.hear(heartbeat({ installation: "other", boot: 9, counter: 9 }), 0, 14_000);
    expect(presence.gone("t1", task, 14_000)).toBeNull();
    expect(presence.gone("t1", task, 15_001)).toBe("silent");
  });

  it("takes what it cannot read for a sign of life, since the host's lease was renewed by it", () => {
    const presence = new Presence(SILENCE, 0);
    presence.hear(listing(), 0, 0);
    expect(presence.hearUnreadable("h1", 14_000)).toBe(true);
    expect(presence.hearUnreadable("h1", 14_001)).toBe(false);
    expect(presence.hearUnreadable("h2", 29_000)).toBe(true);
    expect(presence.gone("t1", task, 29_000)).toBeNull();
    expect(presence.gone("t1", task, 29_002)).toBe("silent");
  });

  it("takes what the host says on the log for a sign of life, though its heartbeats lag behind", () => {
    const presence = new Presence(SILENCE, 0);
    presence.hear(listing(), 0, 0);
    presence.spoke(task, 14_000);
    expect(presence.gone("t1", task, 29_000)).toBeNull();
    expect(presence.gone("t1", task, 29_001)).toBe("silent");
    presence.spoke({ ...task, installation: "other" }, 29_001);
    expect(presence.gone("t1", task, 29_001)).toBe("silent");
  });

  it("forgets hosts that were not heard of for long", () => {
    const presence = new Presence(SILENCE, 0);
    presence.hear(heartbeat({ hostId: "left" }), 0, 0);
    presence.hear(heartbeat({ hostId: "here" }), 0, 100);
    presence.forgetBefore(50);
    expect([...presence.hosts.keys()]).toEqual(["here"]);
  });

  it("declares nobody silent before a full grace period after it was itself cut off", () => {
    const presence = new Presence(SILENCE, 0);
    presence.hear(listing(), 0, 0);
    presence.startGrace(100_000);
    expect(presence.gone("t1", task, 115_000)).toBeNull();
    expect(presence.gone("t1", task, 115_001)).toBe("silent");
  });
});

describe("a pull request's tasks", () => {
  const task = (taskId: string, overrides: Partial<PullRequestTask> = {}): PullRequestTask => ({
    taskId,
    repository: "acme/shop",
    prNumber: 7,
    sha: taskId,
    supersede: true,
    updatedAtMs: null,
    ...overrides,
  });

  it("are overtaken by a newer commit, whoever asks", () => {
    const standing = new PullRequests();
    expect(standing.requested(task("a", { updatedAtMs: 5 }))).toEqual([]);
    expect(standing.requested(task("b", { repository: "Acme/Shop" }))).toEqual([{ taskId: "a", by: "b" }]);
  });

  it("are not overtaken by the same commit, another pull request, or a request that does not want it", () => {
    const standing = new PullRequests();
    standing.requested(task("a"));
    expect(standing.requested(task("b", { sha: "a" }))).toEqual([]);
    expect(standing.requested(task("c", { prNumber: 8 }))).toEqual([]);
    expect(standing.requested(task("d", { supersede: false }))).toEqual([]);
  });

  it("are never overtaken by a late webhook, which is itself overtaken, even when the newer task has ended", () => {
    const standing = new PullRequests();
    standing.requested(task("new", { updatedAtMs: 10 }));
    expect(standing.requested(task("late", { updatedAtMs: 9 }))).toEqual([{ taskId: "late", by: "new" }]);
    standing.ended(task("new"));
    expect(standing.requested(task("later", { updatedAtMs: 8 }))).toEqual([{ taskId: "later", by: "new" }]);
    expect(standing.requested(task("same-second", { updatedAtMs: 10 }))).toContainEqual({
      taskId: "late",
      by: "same-second",
    });
  });

  it("stand when the newest commit is asked for again by late news", () => {
    const standing = new PullRequests();
    standing.requested(task("new", { sha: "s", updatedAtMs: 10 }));
    expect(standing.requested(task("again", { sha: "s", updatedAtMs: 9 }))).toEqual([]);
  });

  it("neither overtake nor are overtaken when an old one is done again, until there is a newer commit", () => {
    const standing = new PullRequests();
    standing.requested(task("old", { updatedAtMs: 9 }));
    standing.ended(task("old"));
    standing.requested(task("new", { updatedAtMs: 10 }));
    const retry = (taskId: string, updatedAtMs: number | null) =>
      standing.requested(task(taskId, { sha: "old", supersede: false, updatedAtMs }));
    expect(retry("retry", 9)).toEqual([]);
    expect(retry("retry-of-one-by-hand", null)).toEqual([]);
    expect(standing.requested(task("late", { sha: "old", updatedAtMs: 9 }))).toEqual([
      { taskId: "late", by: "new" },
    ]);
    expect(standing.requested(task("newer", { updatedAtMs: 11 })).map(({ taskId }) => taskId)).toEqual([
      "new",
      "retry",
      "retry-of-one-by-hand",
      "late",
    ]);
  });
});
