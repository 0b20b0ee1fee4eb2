import { describe, expect, it } from "vitest";
import { type Place, placeIn, StreamReplaced } from "../../shared/bus/place.ts";

const place = (overrides: Partial<Place> = {}): Place => ({
  created: "2026-01-01T00:00:00Z",
  seen: 5,
  clockMs: 0,
  ...overrides,
});
const stream = (last: number, created = "2026-01-01T00:00:00Z") => ({
  created,
  state: { last_seq: last },
  ts: "2026-01-01T00:00:10Z",
});

describe("a reader's place", () => {
  it("begins before everything, or after what is there for who wants only what is new", () => {
    expect(placeIn(null, stream(7), 1, 0).seen).toBe(0);
    expect(placeIn(null, stream(7), "last", 0).seen).toBe(0);
    expect(placeIn(null, stream(7), "new", 0).seen).toBe(7);
  });

  it("stays where it was while the stream is the same and has not lost its end", () => {
    expect(placeIn(place(), stream(5), 1, 0).seen).toBe(5);
    expect(placeIn(place(), stream(9), 1, 0).seen).toBe(5);
  });

  it("is nowhere in a stream that is another one, or has lost its end", () => {
    expect(() => placeIn(place(), stream(9, "2026-02-02T00:00:00Z"), 1, 0)).toThrow(StreamReplaced);
    expect(() => placeIn(place(), stream(4), 1, 0)).toThrow(StreamReplaced);
    expect(() => placeIn(place(), stream(4), "new", 0)).toThrow(StreamReplaced);
  });

  it("begins again in another stream for who keeps no history", () => {
    expect(placeIn(place(), stream(9, "2026-02-02T00:00:00Z"), "last", 0).seen).toBe(0);
    expect(placeIn(place(), stream(4), "last", 0).seen).toBe(0);
  });

  it("carries the broker's clock along", () => {
    const { clockMs } = placeIn(place(), stream(5), 1, 1_000);
    expect(new Date(clockMs + 1_500).toISOString()).toBe("2026-01-01T00:00:10.500Z");
  });
});
