// The frames between host agent and guest supervisor: what is sent arrives whole, however it was cut, and what is
// no frame is an error.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodeControl,
  encodeData,
  type Frame,
  FrameDecoder,
  ProtocolError,
  type ToGuest,
} from "../../services/host-agent/guest/protocol.ts";

const DATA_MAX_BYTES = 65_536;
const CONTROL_MAX_BYTES = 1_048_576;

const decode = (...chunks: Buffer[]): Frame<ToGuest>[] => {
  const decoder = new FrameDecoder<ToGuest>();
  const frames = chunks.flatMap((chunk) => [...decoder.push(chunk)]);
  decoder.end();
  return frames;
};

/** A header with this length and kind, and what follows it. */
const frame = (length: number, kind: number, payload = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length);
  head.writeUInt8(kind, 4);
  return Buffer.concat([head, payload]);
};

const anyMessage: fc.Arbitrary<Buffer> = fc.oneof(
  fc.record({ type: fc.constant("kill" as const), attempt: fc.string() }).map(encodeControl),
  fc
    .tuple(
      fc.constantFrom("stdout" as const, "stderr" as const, "stdin" as const),
      fc.nat(4_294_967_295),
      fc.uint8Array({ minLength: 1 }),
    )
    .map(([kind, process, bytes]) => encodeData(kind, process, Buffer.from(bytes))),
);

describe("frames", () => {
  it("arrive as they were sent, wherever the stream is cut", () => {
    fc.assert(
      fc.property(fc.array(anyMessage), fc.array(fc.nat(400)), (messages, cuts) => {
        const stream = Buffer.concat(messages);
        const borders = [...new Set(cuts.map((cut) => Math.min(cut, stream.length)))].toSorted(
          (a, b) => a - b,
        );
        const ends = [...borders, stream.length];
        const chunks = ends.map((end, index) => stream.subarray(index === 0 ? 0 : ends[index - 1], end));
        expect(decode(...chunks)).toEqual(messages.flatMap((message) => decode(message)));
      }),
    );
  });

  it("arrive byte by byte", () => {
    const stream = Buffer.concat([
      encodeControl({ type: "kill", attempt: "ä" }),
      encodeData("stdin", 7, Buffer.from("x")),
    ]);
    const chunks = [...stream].map((byte) => Buffer.from([byte]));
    expect(decode(...chunks)).toEqual([
      { kind: "control", message: { type: "kill", attempt: "ä" } },
      { kind: "stdin", number: 7, bytes: Buffer.from("x") },
    ]);
  });

  it("carry more bytes than one holds in as many as are needed", () => {
    const bytes = Buffer.from(Array.from({ length: 2 * DATA_MAX_BYTES + 1 }, (_, index) => index % 251));
    const frames = decode(encodeData("stdout", 1, bytes));
    expect(frames.length).toBe(3);
    const data = frames.map((one) => (one.kind === "control" ? Buffer.alloc(0) : one.bytes));
    expect(Buffer.concat(data).equals(bytes)).toBe(true);
  });

  it("of no bytes are none", () => {
    expect(encodeData("stdout", 1, Buffer.alloc(0)).length).toBe(0);
  });

  it("may be as long as is allowed, and no longer", () => {
    const message = (bytes: number): ToGuest => ({ type: "kill", attempt: "x".repeat(bytes) });
    const around = JSON.stringify(message(0)).length;
    expect(decode(encodeControl(message(CONTROL_MAX_BYTES - around))).length).toBe(1);
    expect(() => encodeControl(message(CONTROL_MAX_BYTES - around + 1))).toThrow(ProtocolError);
  });

  it.each([
    ["a control frame that is too long", frame(CONTROL_MAX_BYTES + 1, 0)],
    ["a data frame that is too long", frame(DATA_MAX_BYTES + 5, 1)],
    ["a length beyond all bounds", frame(4_294_967_295, 0)],
    ["a kind nobody knows", frame(4, 9, Buffer.alloc(4))],
    ["a data frame too short for its process", frame(3, 1, Buffer.alloc(3))],
    ["a control frame that is no JSON text", frame(2, 0, Buffer.from("{]"))],
    ["an empty control frame", frame(0, 0)],
  ])("are refused: %s", (_, bytes) => {
    expect(() => decode(bytes)).toThrow(ProtocolError);
  });

  it("that are too long are refused by their header, before anything is kept", () => {
    expect(() => [...new FrameDecoder().push(frame(CONTROL_MAX_BYTES + 1, 0).subarray(0, 5))]).toThrow(
      ProtocolError,
    );
  });

  it("before a bad one are still heard", () => {
    const heard: unknown[] = [];
    const stream = Buffer.concat([encodeData("stdin", 1, Buffer.from("x")), frame(4, 9, Buffer.alloc(4))]);
    expect(() => {
      for (const one of new FrameDecoder().push(stream)) heard.push(one);
    }).toThrow(ProtocolError);
    expect(heard).toEqual([{ kind: "stdin", number: 1, bytes: Buffer.from("x") }]);
  });

  it("cut by the end of the stream are an error", () => {
    const whole = encodeControl({ type: "freeze" });
    expect(() => decode(whole.subarray(0, -1))).toThrow(ProtocolError);
    expect(() => decode(whole.subarray(0, 3))).toThrow(ProtocolError);
  });

  it("of garbage are errors or frames, and never anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          for (const one of new FrameDecoder().push(Buffer.from(bytes)))
            expect(["control", "stdout", "stderr", "stdin"]).toContain(one.kind);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });
});
