// The event streams: the same story for every reader, wherever it was cut off, and nothing kept for a reader
// that does not read.
import { array, assert, asyncProperty, integer } from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  collect,
  deployRequest,
  type GatewayMesh,
  type ReadEvent,
  readEvents,
  say,
  sayLog,
  sayStarted,
  saySucceeded,
  startGatewayMesh,
} from "../support/gateway.ts";

// No tracker: it would say facts of its own.
let mesh: GatewayMesh;
beforeAll(async () => {
  mesh = await startGatewayMesh({ tracker: false });
});
afterAll(() => mesh[Symbol.asyncDispose]());

const request = (taskId: string) => say(mesh.bus, taskId, "requested", "normal", deployRequest());
const eventsOf = (taskId: string) => `${mesh.url}/v1/tasks/${taskId}/events`;
const logsOf = (taskId: string) => `${mesh.url}/v1/tasks/${taskId}/logs`;
const ids = (events: ReadEvent[]) => events.map(({ id }) => id);

/** Reads a stream in pieces of the given sizes, each time going on after the last id, and then the rest. */
async function readInPieces(
  url: string,
  sizes: number[],
  until: (events: ReadEvent[]) => boolean,
): Promise<ReadEvent[]> {
  const read: ReadEvent[] = [];
  for (const size of [...sizes, Number.POSITIVE_INFINITY]) {
    if (until(read)) break;
    for await (const event of readEvents(url, read.at(-1)?.id ?? 0)) {
      read.push(event);
      if (until(read) || read.length >= size) break;
    }
  }
  return read;
}

describe("the facts of one task", () => {
  it("are told in order with all they say, and the stream ends with the task", async () => {
    const sequences = [await request("story"), await sayStarted(mesh.bus, "story")];
    const live = collect(readEvents(eventsOf("story")));
    sequences.push(await saySucceeded(mesh.bus, "story"));
    const events = await live;
    expect(ids(events)).toStrictEqual(sequences);
    expect(events.map(({ event }) => event)).toStrictEqual(["requested", "started", "succeeded"]);
    expect(events[1]?.data).toMatchObject({
      sequence: sequences[1],
      at: expect.stringMatching(/^\d{4}-.*Z$/),
      taskId: "story",
      kind: "started",
      speaker: "host-1",
      attempt: 1,
      nonce: "n",
    });
  });

  it("end with the end that counts, not with one that does not", async () => {
    await request("zombie");
    await sayStarted(mesh.bus, "zombie");
    const stale = await say(mesh.bus, "zombie", "succeeded", "host-2", {
      attempt: 7,
      nonce: "z",
      result: {},
    });
    const counted = await saySucceeded(mesh.bus, "zombie");
    await say(mesh.bus, "zombie", "resumed", "host-1", { attempt: 1, nonce: "n" });
    const events = await collect(readEvents(eventsOf("zombie")));
    expect(ids(events).slice(-2)).toStrictEqual([stale, counted]);
  });

  it("are over for a client that has seen the end", async () => {
    await request("over");
    await sayStarted(mesh.bus, "over");
    const end = await saySucceeded(mesh.bus, "over");
    for (const headers of [{ "last-event-id": String(end) }, { "last-event-id": String(end + 1) }])
      expect((await fetch(eventsOf("over"), { headers })).status).toBe(204);
    expect((await fetch(`${eventsOf("over")}?lastEventId=${end}`)).status).toBe(204);
    expect((await fetch(eventsOf("over"), { headers: { "last-event-id": String(end - 1) } })).status).toBe(
      200,
    );
  });

  it("show what nobody can decode as malformed", async () => {
    await request("broken");
    const sequence = await say(mesh.bus, "broken", "started", "host-1", "no JSON");
    const [, malformed] = await collect(readEvents(eventsOf("broken")), 2);
    expect(malformed).toMatchObject({
      id: sequence,
      event: "malformed",
      data: { kind: "started", problem: expect.stringContaining("JSON") },
    });
  });

  it("refuse a Last-Event-ID that is none", async () => {
    for (const id of ["x", "-1", "1.5", "1e3", "9".repeat(20)]) {
      const response = await fetch(eventsOf("story"), { headers: { "last-event-id": id } });
      expect(response.status).toBe(400);
    }
  });
});

describe("the facts of all tasks", () => {
  it("are complete and without repeats, wherever the reader is cut off, while the log grows", async () => {
    let round = 0;
    const property = asyncProperty(
      array(integer({ min: 1, max: 12 }), { maxLength: 6 }),
      integer({ min: 1, max: 10 }),
      async (steps, tasks) => {
        const first = await request(`cut-${++round}-0`);
        const writing = (async () => {
          for (let index = 1; index <= tasks; index++) {
            await request(`cut-${round}-${index}`);
            if (index % 3 === 0) await say(mesh.bus, `cut-${round}-${index}`, "faulted", "host-1", "?");
            await sayStarted(mesh.bus, `cut-${round}-${index}`);
          }
          return saySucceeded(mesh.bus, `cut-${round}-1`);
        })();
        let at = 0;
        const sizes = steps.map((step) => (at += step));
        const lastSequence = first + 2 * tasks + Math.floor(tasks / 3) + 1;
        const url = `${mesh.url}/v1/events?lastEventId=${first - 1}`;
        const read: ReadEvent[] = [];
        for (const size of [...sizes, Number.POSITIVE_INFINITY]) {
          if (read.at(-1)?.id === lastSequence) break;
          for await (const event of readEvents(url, read.at(-1)?.id)) {
            read.push(event);
            if (event.id === lastSequence || read.length >= size) break;
          }
        }
        expect(await writing).toBe(lastSequence);
        expect(ids(read)).toStrictEqual(
          Array.from({ length: lastSequence - first + 1 }, (_, index) => first + index),
        );
      },
    );
    await assert(property, { numRuns: 25 });
  });

  it("begin with now, and say where that is", async () => {
    const before = await request("before-now");
    const leave = new AbortController();
    const response = await fetch(`${mesh.url}/v1/events`, { signal: leave.signal });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    let text = "";
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += piece;
      if (text.includes("id: ")) break;
    }
    leave.abort();
    expect(text).toBe(`retry: 1000\n\nid: ${before}\n\n`);
  });
});

describe("the log of one task", () => {
  it("is told live and whole, then the stream ends with the task", async () => {
    await request("logged");
    await sayStarted(mesh.bus, "logged");
    await sayLog(mesh.bus, "logged", { source: "phase", phase: "running", text: "it runs" });
    const live = collect(readEvents(logsOf("logged")));
    for (let line = 0; line < 200; line++) await sayLog(mesh.bus, "logged", { text: `line ${line}\n` });
    await saySucceeded(mesh.bus, "logged");
    // On its way when the task ended.
    await sayLog(mesh.bus, "logged", { source: "stderr", text: "last words" });
    const events = await live;
    expect(events).toHaveLength(202);
    expect(events[0]).toMatchObject({
      event: "phase",
      data: { attempt: 1, hostId: "host-1", source: "phase", phase: "running", text: "it runs" },
    });
    expect(events.at(-1)).toMatchObject({ event: "stderr", data: { text: "last words" } });
    expect(ids(await collect(readEvents(logsOf("logged"))))).toStrictEqual(ids(events));
    const last = { "last-event-id": String(events.at(-1)?.id) };
    expect((await fetch(logsOf("logged"), { headers: last })).status).toBe(204);

    await assert(
      asyncProperty(array(integer({ min: 1, max: 201 }), { maxLength: 4 }), async (cuts) => {
        const sizes = cuts.sort((left, right) => left - right);
        const read = await readInPieces(logsOf("logged"), sizes, (read) => read.length >= events.length);
        expect(ids(read)).toStrictEqual(ids(events));
      }),
      { numRuns: 10 },
    );
  });

  it("of a task that said nothing is over at once", async () => {
    await request("silent");
    await sayStarted(mesh.bus, "silent");
    await saySucceeded(mesh.bus, "silent");
    expect((await fetch(logsOf("silent"))).status).toBe(204);
  });
});
