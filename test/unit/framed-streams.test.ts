// Streams over frames, without anything between their two ends: what goes in comes out, in whatever pieces, and what
// waits for a reader needs no more room than it has bytes.
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { expect, it } from "vitest";
import { FramedStreams, WINDOW_BYTES } from "../../services/host-agent/guest/framed-streams.ts";
import { FrameDecoder, type ToGuest } from "../../services/host-agent/guest/protocol.ts";

/** Two ends, each of which hears what the other sends a turn later; a line takes no more until it is empty. */
function twoEnds(): [FramedStreams, FramedStreams] {
  const lineTo = (own: () => FramedStreams, other: () => FramedStreams) => {
    const decoder = new FrameDecoder<ToGuest>();
    let under = 0;
    return (bytes: Buffer) => {
      under++;
      setImmediate(() => {
        for (const frame of decoder.push(bytes)) other().hear(frame);
        if (--under === 0) own().drained();
      });
      return false;
    };
  };
  const ends: [FramedStreams, FramedStreams] = [
    new FramedStreams(
      lineTo(
        () => ends[0],
        () => ends[1],
      ),
    ),
    new FramedStreams(
      lineTo(
        () => ends[1],
        () => ends[0],
      ),
    ),
  ];
  return ends;
}

it("what is written comes out as it was, however it is cut and whenever it is read or held", async () => {
  const pieces = fc.array(
    fc.tuple(fc.nat({ max: 9_000 }), fc.constantFrom("read", "hold", "go on", "wait")),
    {
      maxLength: 40,
    },
  );
  await fc.assert(
    fc.asyncProperty(pieces, async (steps) => {
      const [one, other] = twoEnds();
      const [source, sink] = [one.open(1, "a"), other.open(1, "a")];
      const sent: Buffer[] = [];
      const come: Buffer[] = [];
      for (const [length, step] of steps) {
        const bytes = Buffer.alloc(length, sent.length + 1);
        sent.push(bytes);
        source.write(bytes);
        if (step === "wait") await turn();
        if (step === "hold" || step === "go on") other.hold("a", step === "hold");
        const read: unknown = step === "read" ? sink.read() : null;
        if (Buffer.isBuffer(read)) come.push(read);
      }
      source.end();
      other.hold("a", false);
      for await (const bytes of sink as AsyncIterable<Buffer>) come.push(bytes);
      expect(Buffer.concat(come).equals(Buffer.concat(sent))).toBe(true);
    }),
  );
});

it("bytes that come one by one lie together while nobody reads them", async () => {
  const streams = new FramedStreams(() => true);
  const stream = streams.open(1, "a");
  for (let at = 0; at < WINDOW_BYTES; at++)
    streams.hear({ kind: "stream", number: 1, bytes: Buffer.from([at % 251]) });
  streams.hear({ kind: "control", message: { type: "streamEnd", stream: 1 } as ToGuest });
  const pieces: Buffer[] = [];
  for await (const bytes of stream as AsyncIterable<Buffer>) pieces.push(bytes);
  expect(
    Buffer.concat(pieces).equals(Buffer.from(Array.from({ length: WINDOW_BYTES }, (_, at) => at % 251))),
  ).toBe(true);
  expect(pieces.length).toBeLessThan(100);
});

it("a line that is full is sent nothing more, and each stream has its turn once it takes more", () => {
  const sent: number[] = [];
  const decoder = new FrameDecoder<ToGuest>();
  const streams = new FramedStreams((bytes) => {
    for (const frame of decoder.push(bytes)) if (frame.kind === "stream") sent.push(frame.number);
    return false;
  });
  const taken = (number: number) =>
    streams.hear({
      kind: "control",
      message: { type: "streamTaken", stream: number, bytes: WINDOW_BYTES } as ToGuest,
    });
  for (const number of [1, 2, 3]) streams.open(number, "a").write(Buffer.alloc(3 * WINDOW_BYTES));
  const turns: number[][] = [];
  for (let turn = 0; turn < 6; turn++) {
    const whose = [...new Set(sent.splice(0))];
    turns.push(whose);
    for (const number of whose) taken(number);
    streams.drained();
  }
  expect(turns).toEqual([[1], [1], [2], [3], [1], [2]]);
});
