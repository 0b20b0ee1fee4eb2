// Which of a host's caches give way.
import { describe, expect, it } from "vitest";
import {
  CACHES_KEPT,
  CACHES_MAX_BYTES,
  cachesToDrop,
  type KeptCache,
} from "../../services/host-agent/workspace/cache-room.ts";

const GIB = 1_073_741_824;
const roomy = { totalBytes: 500 * GIB, freeBytes: 100 * GIB };

/** Named after when they were used. */
const caches = (count: number, bytes: number): KeptCache[] =>
  Array.from({ length: count }, (_, at) => ({ folder: String(at), usedAtMs: at, bytes })).toReversed();
const dropped = (...args: Parameters<typeof cachesToDrop>) =>
  cachesToDrop(...args).map(({ folder }) => folder);

describe("caches", () => {
  it("stay while there is room for them", () => {
    expect(dropped([], roomy)).toEqual([]);
    expect(dropped(caches(CACHES_KEPT, 1_000), roomy)).toEqual([]);
    expect(dropped(caches(2, CACHES_MAX_BYTES / 2), roomy)).toEqual([]);
  });

  it("give way beyond their number and beyond what they may come to, the oldest first", () => {
    expect(dropped(caches(CACHES_KEPT + 2, 1_000), roomy)).toEqual(["0", "1"]);
    expect(dropped(caches(5, CACHES_MAX_BYTES / 3), roomy)).toEqual(["0", "1"]);
  });

  it("give way while little is free, as many as it takes", () => {
    expect(dropped(caches(6, 0.4 * GIB), { ...roomy, freeBytes: GIB })).toEqual(["0", "1", "2"]);
    // Of a small disk a tenth is enough.
    expect(dropped(caches(6, 0.4 * GIB), { totalBytes: 10 * GIB, freeBytes: GIB })).toEqual([]);
  });

  it("keep the latest one, whatever it takes", () => {
    expect(dropped(caches(1, 2 * CACHES_MAX_BYTES), { ...roomy, freeBytes: 0 })).toEqual([]);
    expect(dropped(caches(3, GIB), { ...roomy, freeBytes: 0 })).toEqual(["0", "1"]);
  });
});
