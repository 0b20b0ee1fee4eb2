// What a host agent and the program that makes trees elsewhere say to one another, however their pipe cuts it.
import fc from "fast-check";
import { expect, it } from "vitest";
import { encodeLine, type FromHost, LineDecoder } from "../../services/host-agent/workspace/wire.ts";

it("lines, and the bytes that follow some of them, come out as they went in, wherever they are cut", () => {
  const bytes = fc.uint8Array({ maxLength: 300 }).map((part) => Buffer.from(part));
  fc.assert(
    fc.property(
      fc.array(bytes, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 40 })),
      (patches, cuts) => {
        const tree = { workTree: "/w", gitDir: "/g", home: "/h", temporary: "/t" };
        const sent = patches.flatMap((patch, id) => [
          encodeLine({ id, call: "applyPatch", tree, gitDir: "/g\n", bytes: patch.length }),
          patch,
          encodeLine({ id, abort: true }),
        ]);
        const heard: string[] = [];
        let taken = Buffer.alloc(0);
        const decoder = new LineDecoder<FromHost>(
          (message) => {
            heard.push("abort" in message ? "abort" : "call");
            return "call" in message && message.call === "applyPatch" ? message.bytes : 0;
          },
          (part) => {
            taken = Buffer.concat([taken, part]);
          },
        );
        let rest = Buffer.concat(sent);
        for (let cut = 0; rest.length > 0; cut++) {
          const length = cuts[cut % Math.max(1, cuts.length)] ?? rest.length;
          decoder.push(rest.subarray(0, length));
          rest = rest.subarray(length);
        }
        expect(heard).toEqual(patches.flatMap(() => ["call", "abort"]));
        expect(taken).toEqual(Buffer.concat(patches));
      },
    ),
  );
});

it("a line without an end is refused before it fills the memory", () => {
  const decoder = new LineDecoder<FromHost>(() => 0);
  const endless = Buffer.alloc(1_048_576, "x");
  expect(() => {
    for (let part = 0; part < 6; part++) decoder.push(endless);
  }).toThrow("a line of more than 4194304 bytes");
});
