// The client's event streams: parsed however they are cut, and resumed without a gap or a repeat.
import { describe, expect, it } from "vitest";
import { parseEvents, resumedEvents } from "../../shared/client/server-sent-events.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
async function* body(...parts: (string | Error)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part instanceof Error) throw part;
    yield bytes(part);
  }
}
async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe("server-sent events", () => {
  it("are parsed whatever the cuts, with comments, CRLF and several data lines", async () => {
    const text = ": hi\n\nid: 1\r\nevent: x\r\ndata: a\r\ndata: b\r\n\r\nid: 2\ndata: ü\n\nid: 3\n\n";
    const whole = bytes(text);
    async function* single() {
      for (const byte of whole) yield Uint8Array.of(byte);
    }
    expect(await collect(parseEvents(single()))).toEqual([
      { id: "1", data: "a\nb" },
      { id: "2", data: "ü" },
      { id: "3", data: null },
    ]);
  });

  it("go on after the last one seen when the connection is cut, and end when the server says so", async () => {
    const asked: number[] = [];
    const answers = [
      () => body("id: 1\ndata: a\n\nid: 2\nda", new TypeError("terminated")),
      () => "later" as const,
      () => body("id: 2\ndata: b\n\n"),
      () => null,
    ];
    const events = resumedEvents({
      after: 0,
      async open(lastEventId) {
        asked.push(lastEventId);
        return answers[asked.length - 1]?.() ?? null;
      },
    });
    expect(await collect(events)).toEqual([
      { id: "1", data: "a" },
      { id: "2", data: "b" },
    ]);
    expect(asked).toEqual([0, 1, 1, 2]);
  });

  it("go on from where a server has said that its stream is, though nothing has come yet", async () => {
    const asked: number[] = [];
    const answers = [() => body("id: 7\n\n:\n\n", new TypeError("terminated")), () => null];
    const events = resumedEvents({
      after: 0,
      async open(lastEventId) {
        asked.push(lastEventId);
        return answers[asked.length - 1]?.() ?? null;
      },
    });
    expect(await collect(events)).toEqual([]);
    expect(asked).toEqual([0, 7]);
  });

  it("repeat nothing that a server sends twice", async () => {
    let opened = 0;
    const events = resumedEvents({
      after: 4,
      open: async () =>
        opened++ === 0 ? body("id: 4\ndata: old\n\nid: 5\ndata: new\n\nid: 5\ndata: new\n\n") : null,
    });
    expect(await collect(events)).toEqual([{ id: "5", data: "new" }]);
  });

  it("end with what the caller cannot mend, and with the signal's reason", async () => {
    const open = async () => {
      throw new RangeError("no such task");
    };
    await expect(collect(resumedEvents({ after: 0, open }))).rejects.toThrow("no such task");
    const reason = new Error("enough");
    const never = resumedEvents({ after: 0, open: async () => "later", signal: AbortSignal.abort(reason) });
    await expect(collect(never)).rejects.toBe(reason);
  });
});
