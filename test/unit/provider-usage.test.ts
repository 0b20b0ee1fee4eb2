// How the answers of Claude Code's provider are read for what was used: however they are cut, and whatever else is in them.
import fc from "fast-check";
import { expect, it } from "vitest";
import { anthropic } from "../../services/host-agent/runner/claude-code/provider.ts";

const provider = anthropic({ ANTHROPIC_API_KEY: "k" }) ?? expect.fail();
const usedIn = (type: string, ...pieces: Buffer[]) => {
  const reader = provider.readUsage(type);
  for (const piece of pieces) reader.push(piece);
  return reader.used();
};

const event = (name: string, data: unknown) => `event: ${name}\r\ndata: ${JSON.stringify(data)}\r\n\r\n`;
const EVENTS = [
  event("message_start", {
    message: { usage: { input_tokens: 7, cache_read_input_tokens: 3, output_tokens: 1 } },
  }),
  event("content_block_delta", { delta: { text: 'grün — 日本 "usage": {"output_tokens": 900}' } }),
  event("message_delta", { usage: { output_tokens: 20, cache_creation_input_tokens: 4 } }),
].join("");
const USED = { inputTokens: 7, outputTokens: 20, cacheReadTokens: 3, cacheWriteTokens: 4 };

it("an answer in events tells the same however it is cut, within a letter or a line too", () => {
  const bytes = Buffer.from(EVENTS);
  fc.assert(
    fc.property(fc.array(fc.nat({ max: bytes.length })), (cuts) => {
      const ends = [...cuts.toSorted((one, other) => one - other), bytes.length];
      const pieces = ends.map((end, at) => bytes.subarray(ends[at - 1] ?? 0, end));
      expect(usedIn("text/event-stream; charset=utf-8", ...pieces)).toEqual(USED);
    }),
  );
});

it("an answer that is hung up on before it tells what it came to has used what has been heard of it", () => {
  const [begins = "", delta = ""] = EVENTS.split("event: ").slice(1);
  const deltas = `event: ${delta}`.repeat(12);
  expect(usedIn("text/event-stream", Buffer.from(`event: ${begins}${deltas}`)).outputTokens).toBe(12);
  expect(usedIn("text/event-stream", Buffer.from(`event: ${begins}${deltas.repeat(9)}${EVENTS}`))).toEqual(
    USED,
  );
});

it("a line without an end is not kept, and not searched again for each piece that comes", () => {
  const piece = Buffer.alloc(65_536, "x");
  const reader = provider.readUsage("text/event-stream");
  for (let count = 0; count < 4_096; count++) reader.push(piece);
  // Minutes would have gone by, were all of it looked at each time.
  reader.push(Buffer.from(`\n${EVENTS}`));
  expect(reader.used()).toEqual(USED);
});

it("an answer in one piece tells it once it is whole, and one that is none tells nothing", () => {
  const text = JSON.stringify({ usage: { input_tokens: 7, output_tokens: 20 } });
  const bytes = Buffer.from(text);
  const json = "application/json";
  expect(usedIn(json, bytes.subarray(0, 9), bytes.subarray(9))).toMatchObject({ inputTokens: 7 });
  const none = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  for (const other of [
    "",
    "null",
    "7",
    '"usage"',
    '{"usage":[1]}',
    '{"usage":{"input_tokens":"7"}}',
    text.slice(1),
  ])
    expect(usedIn(json, Buffer.from(other)), other).toEqual(none);
});
