// What `mesh simulate` is given: traces, machines and flags, and what it says of those it cannot use.
import { describe, expect, it } from "vitest";
import { UsageError } from "../../services/cli/outcome.ts";
import { machinesIn } from "../../services/cli/simulate/machines.ts";
import { type Flags, planOf } from "../../services/cli/simulate/plan.ts";
import { readTrace, TRACE_LIMITS } from "../../services/simulator/trace.ts";
import { heartbeat } from "../support/heartbeats.ts";

const read = async (...lines: string[]) => {
  const trace = await readTrace(lines);
  if (!trace.ok) throw new Error(trace.error.message);
  const { workload, skipped } = trace.value;
  return {
    arrival: [...workload.arrivalMs],
    work: [...workload.workMs],
    asked: [...workload.askedBytes],
    used: [...workload.usedBytes],
    repositories: workload.kinds.map(({ repository }) => repository),
    skipped,
  };
};
const problem = async (...lines: string[]) => {
  const trace = await readTrace(lines);
  return trace.ok ? "" : trace.error.message;
};
const HEADER = "arrival,duration,memory";
const JOB = "1 100 5 60 1 -1 2048 1 -1 4096 1 7 1 1 1 1 -1 -1";

describe("a trace in CSV", () => {
  it("is read whatever its line ends, quotes, blank lines, other columns and order", async () => {
    const read1 = await read(
      '\uFEFF"memory", "name",arrival,"Duration"\r',
      "\r",
      '2000000000,"a, ""b""",20,3.5\r',
      "",
      "1e9,x,10,60",
    );
    expect(read1).toMatchObject({
      arrival: [0, 10_000],
      work: [60_000, 3_500],
      asked: [1e9, 2e9],
      used: [1e9, 2e9],
    });
  });

  it.each([
    [["a,b"], /^line 1: expected the header arrival,duration,memory/],
    [[HEADER, "1,2"], /^line 2: expected 3 fields, as the header has; it has 2/],
    [[HEADER, "", "x,2,3"], /^line 3: arrival: expected seconds, 0 or more; it is "x"/],
    [[HEADER, "-1,2,3"], /^line 2: arrival/],
    [[HEADER, "1,0,3"], /^line 2: duration: expected seconds, more than 0/],
    [[HEADER, "1,1e999,3"], /^line 2: duration/],
    [[HEADER, "1,NaN,3"], /^line 2: duration/],
    [[HEADER, "1,0x10,3"], /^line 2: duration/],
    [[HEADER, "1,2,"], /^line 2: memory: expected bytes, 1 or more; it is ""/],
    [[HEADER, "1,2,2GB"], /^line 2: memory.*"2GB"/],
    [[HEADER, '1,"2,3'], /^line 2: a quotation mark is not closed/],
    [[HEADER, "0,1,1", "1e12,1,1"], /^the arrivals are more than a year apart/],
    [[HEADER, `${"9".repeat(20_000)},1,1`], /^line 2: expected at most 10000 characters/],
    [[HEADER], /^no tasks in it/],
    [[], /^no tasks in it/],
    [["\u0000\u0001PNG"], /^line 1: expected the header/],
  ])("is refused with the line and what was expected: %j", async (lines, message) => {
    expect(await problem(...lines)).toMatch(message);
  });

  it("is refused when it is longer than a run can be, before it is all in memory", async () => {
    let given = 0;
    function* endless() {
      yield HEADER;
      for (;;) {
        given++;
        yield "1,2,3";
      }
    }
    const trace = await readTrace(endless());
    expect(trace).toMatchObject({
      ok: false,
      error: { message: expect.stringContaining("more than 1000000") },
    });
    expect(given).toBe(TRACE_LIMITS.tasks + 1);
  }, 60_000);

  it("whose tasks all ask for something else has what they ask for rounded up, by a sixteenth at most", async () => {
    const asks = Array.from({ length: 2_000 }, (_, index) => 1e9 + index * 1_234_567);
    const { asked, used } = await read(HEADER, ...asks.map((bytes, index) => `${index},1,${bytes}`));
    expect(new Set(asked).size).toBeLessThan(100);
    expect(used).toEqual(asks);
    for (const [index, bytes] of asked.entries()) {
      expect(bytes).toBeGreaterThanOrEqual(asks[index] ?? 0);
      expect(bytes).toBeLessThanOrEqual((asks[index] ?? 0) * (1 + 1 / 16));
    }
  });
});

describe("a trace in the Standard Workload Format", () => {
  it("is read by its fields, with what stands in for those that are not known", async () => {
    const trace = await read(
      "; Version: 2.2",
      JOB,
      "2 110 5 30 1 -1 -1 1 -1 -1 1 8 1 1 1 1 -1 -1",
      "  3  120 5 -1 1 -1 -1 1 -1 -1 5 8 1 1 1 1 -1 -1",
      "4 130 5 10 1 -1 1024 1 -1 -1 1 7 1 1 1 1 -1 -1",
    );
    expect(trace).toEqual({
      arrival: [0, 10_000, 30_000],
      work: [60_000, 30_000, 10_000],
      asked: [4096 * 1_024, 536_870_912, 1024 * 1_024],
      used: [2048 * 1_024, 536_870_912, 1024 * 1_024],
      repositories: ["user/7", "user/8"],
      skipped: 1,
    });
  });

  it.each([
    [[JOB, "1 2 3 4"], /^line 2: expected the 18 fields/],
    [[JOB, JOB.replace("100", "soon")], /^line 2: field 2, submit time: .*"soon"/],
    [[JOB, JOB.replace("4096", "x")], /^line 2: fields 7 and 10/],
  ])("is refused with the line and what was expected: %j", async (lines, message) => {
    expect(await problem(...lines)).toMatch(message);
  });
});

describe("the flags of simulate", () => {
  const FLAGS: Flags = { policy: "all", learn: "true", heartbeat: "1s", seed: "1", runs: "1", tasks: "10" };
  const refusal = async (flags: Partial<Flags>) => {
    const planned = await planOf({ ...FLAGS, ...flags }, () => {}).catch((error: unknown) => error);
    return planned instanceof UsageError ? planned.message : planned;
  };

  it("make a run for each seed, of all policies, on fifty machines", async () => {
    const plan = await planOf({ ...FLAGS, runs: "2" }, () => {});
    expect(plan.contenders).toHaveLength(1 + 5);
    expect(plan.runs.map(({ seed, machines }) => [seed, machines.length])).toEqual([
      [1, 50],
      [2, 50],
    ]);
    expect(plan.title).toBe("10 tasks at load 0.8 on 50 machines, heartbeats of 1 s, 2 runs");
  });

  it("have each policy tried with learning and without, on tasks of which some name no memory", async () => {
    const both = { policy: "resource", learn: "both", unnamed: "0.5", burst: "2" };
    const plan = await planOf({ ...FLAGS, ...both }, () => {});
    expect(plan.contenders.map(({ name, learn }) => [name, learn])).toEqual([
      ["omniscient", false],
      ["resource", true],
      ["resource, learn false", false],
    ]);
    expect(plan.title).toMatch(/^10 tasks at load 0.8 in bursts of 2 \(a share of 0.5 names no memory\) on/);
  });

  it.each<[Partial<Flags>, RegExp]>([
    [{ learn: "maybe" }, /^--learn: expected true, false or both, not "maybe"/],
    [{ unnamed: "50%" }, /^--unnamed: expected a share from 0 to 1, not "50%"/],
    [{ unnamed: "1.1" }, /^--unnamed/],
    [{ unnamed: "" }, /^--unnamed/],
    [{ policy: "luck" }, /^--policy: expected all, or some of resource, .*"luck"/],
    [{ policy: "" }, /^--policy/],
    [{ weights: "{" }, /^--weights: no JSON text/],
    [{ weights: '{"memry":1}' }, /^--weights: .*"memory"/],
    [{ weights: '{"memory":-1}' }, /^--weights: memory: expected a weight/],
    [{ heartbeat: "1" }, /^--heartbeat: expected a duration/],
    [{ heartbeat: "2m" }, /^--heartbeat/],
    [{ tasks: "0" }, /^--tasks: expected a whole number/],
    [{ tasks: "1000001" }, /^--tasks/],
    [{ load: "80%" }, /^--load: expected a share/],
    [{ load: "0" }, /^--load/],
    [{ burst: "-1" }, /^--burst/],
    [{ seed: "x" }, /^--seed/],
    [{ runs: "101" }, /^--runs/],
    [{ hosts: "8x" }, /^--hosts: expected a number, or sizes/],
    [{ hosts: "8x16GB,,2x8GB" }, /^--hosts: /],
    [{ hosts: "99999x16GB" }, /^--hosts: expected 10000 machines at most/],
    [{ hosts: "0" }, /^--hosts/],
    [{ hosts: "1x16GB", hostsFile: "x" }, /^--hosts and --hosts-file/],
    [{ hostsFile: "/nowhere.json" }, /^--hosts-file: ENOENT/],
    [{ hostsFile: "/etc/hostname" }, /^--hosts-file: no JSON text/],
    [{ trace: "a.csv" }, /^--tasks is for made-up tasks/],
    [{ trace: "a.csv", history: true }, /^--trace and --history/],
    [{ url: "nats://x" }, /^--url goes with --history/],
  ])("are refused with the flag that is wrong: %j", async (flags, message) => {
    expect(await refusal(flags)).toMatch(message);
  });

  it("name a trace that cannot be read", async () => {
    const { tasks: _, ...others } = FLAGS;
    const of = (trace: string) => planOf({ ...others, trace }, () => {});
    await expect(of("/nowhere.csv")).rejects.toThrow(/^--trace: ENOENT/);
    await expect(of("/")).rejects.toThrow(/^--trace: EISDIR/);
    await expect(of("/dev/null")).rejects.toThrow("/dev/null: no tasks in it");
    await expect(of("/dev/zero")).rejects.toThrow("/dev/zero: line 1: expected at most 10000 characters");
  });

  it("take machines as `mesh hosts --json` prints them, what is used there as their owners'", () => {
    const GIB = 1_073_741_824;
    const host = heartbeat({ memory: { totalBytes: 8 * GIB, availableBytes: 6 * GIB } });
    expect(machinesIn({ data: [host] })).toEqual([
      { memoryBytes: 8 * GIB, cores: 4, slots: 2, owner: { memoryShare: 0.25, cpuShare: 0.1 } },
    ]);
    expect(() => machinesIn({ data: [] })).toThrow(/data: expected one host at least/);
    expect(() => machinesIn([])).toThrow(UsageError);
  });
});
