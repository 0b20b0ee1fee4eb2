// What leaves an attempt carries no secret, however its output is cut, and is otherwise byte for byte what it was.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRedactor, REDACTED, redactedCut, roughCut } from "../../services/host-agent/redaction.ts";

const JWT = `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.${"c".repeat(43)}`;
const SECRETS = {
  "a provider's key": "sk-ant-api03-Zm9v_YmFy-0123456789",
  "a forge's token": `ghp_${"a1B2".repeat(9)}`,
  "a fine-grained token": `github_pat_${"a1B2_".repeat(12)}`,
  "a cloud's key": "AKIAIOSFODNN7EXAMPLE",
  "a JWT": JWT,
  "this host's own key": "own/key+with.signs=",
};
const redactor = createRedactor(["own/key+with.signs=", "", undefined, "short"]);

/** What a reader gets of a text whose bytes come cut at these places. */
function through(text: string, cuts: number[]): string {
  const bytes = Buffer.from(text);
  const stream = redactor.stream();
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)), 0, bytes.length].sort((a, b) => a - b);
  const pieces = places.slice(1).map((to, index) => stream.push(bytes.subarray(places[index], to)));
  return Buffer.concat([...pieces, stream.end()]).toString();
}

describe("a secret", () => {
  it.each(Object.entries(SECRETS))("(%s) is gone, wherever its text is cut", (_, secret) => {
    const words = fc.constantFrom("key=", '"', " ", "\n", "größer ", "e", "sk-", "\\n", ":");
    fc.assert(
      fc.property(
        words,
        fc.constantFrom('"', " ", "\n", ""),
        fc.array(fc.nat(), { maxLength: 6 }),
        (before, after, cuts) => {
          const text = `${before} ${secret}${after}`;
          expect(redactor.text(text)).toBe(`${before} ${REDACTED}${after}`);
          expect(through(text, cuts)).toBe(`${before} ${REDACTED}${after}`);
        },
      ),
    );
  });

  it.each(Object.entries(SECRETS))(
    "(%s) is gone at the beginning of a line, as JSON has it too",
    (_, secret) => {
      const text = `key:\n${secret}\n\u001b[31m${secret}\u001b[0m\u0001${secret}`;
      for (const told of [text, JSON.stringify(text), JSON.stringify(JSON.stringify(text))]) {
        expect(redactor.text(told)).toBe(told.replaceAll(secret, REDACTED));
        expect(through(told, [told.indexOf(secret) + 3])).toBe(told.replaceAll(secret, REDACTED));
      }
    },
  );

  it("is not seen in the middle of a longer word", () => {
    const text = "c2lnAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLEs";
    expect(redactor.text(text)).toBe(text);
  });

  it("is gone each time it is there", () => {
    const all = Object.values(SECRETS);
    expect(redactor.text([...all, ...all].join(" "))).toBe(
      Array(2 * all.length)
        .fill(REDACTED)
        .join(" "),
    );
  });
});

describe("a secret of this host", () => {
  it("is gone as it stands and as JSON has it, from when it is learned on, in streams that began before too", () => {
    const later = createRedactor();
    const stream = later.stream();
    const value = 'a"b\\c-0123';
    const text = `${value} ${JSON.stringify({ value })}\n`;
    expect(later.text(text)).toBe(text);
    later.learn([value, "short", undefined]);
    const redacted = `${REDACTED} {"value":"${REDACTED}"}\n`;
    expect(later.text(text)).toBe(redacted);
    expect(Buffer.concat([stream.push(Buffer.from(text)), stream.end()]).toString()).toBe(redacted);
  });

  it("is found in a stream, wherever that is cut, and a secret of somebody else is not", () => {
    const key = "own/key+with.signs=";
    for (let cut = 0; cut <= key.length; cut++) {
      const find = redactor.finder();
      expect(find(Buffer.from(`+${SECRETS["a provider's key"]}\n+${key.slice(0, cut)}`))).toBe(
        cut === key.length,
      );
      expect(find(Buffer.from(key.slice(cut)))).toBe(true);
      expect(find(Buffer.from("nothing more"))).toBe(true);
    }
  });
});

describe("anything else", () => {
  it.each([
    "short",
    "task-antenna ghp_ghp_ eyJ.eyJ. AKIA",
    `${"A".repeat(20)}KIA${"B".repeat(17)}`,
    "sk-ant",
    `eyJ${"a".repeat(40_000)}`,
    "e",
  ])("stays as it is (%#)", (text) => {
    expect(redactor.text(text)).toBe(text);
    expect(through(text, [1, 3, 20_000])).toBe(text);
  });

  it("stays byte for byte, however it is cut", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 300 }), (bytes, cut) => {
        const stream = redactor.stream();
        const whole = Buffer.from(bytes);
        const pieces = [stream.push(whole.subarray(0, cut)), stream.push(whole.subarray(cut)), stream.end()];
        expect(Buffer.concat(pieces)).toEqual(whole);
      }),
    );
  });

  it("does not wait for more once a line has ended", () => {
    const stream = redactor.stream();
    expect(stream.push(Buffer.from("12 passed\nnext:")).toString()).toBe("12 passed\nnext:");
    expect(stream.push(Buffer.from(" sk-an")).toString()).toBe(" ");
    expect(stream.push(Buffer.from("swered\n")).toString()).toBe("sk-answered\n");
  });
});

describe("a text that is too long", () => {
  const MAXIMUM = 100;
  const cut = (text: string) => redactedCut(redactor, roughCut(text, MAXIMUM), MAXIMUM);

  it("is cut, and one that is not stays as it is", () => {
    expect(cut("x".repeat(MAXIMUM))).toBe("x".repeat(MAXIMUM));
    expect(cut("x".repeat(MAXIMUM + 1))).toBe(`${"x".repeat(MAXIMUM - 1)}…`);
    expect(cut("x".repeat(50_000))).toBe(`${"x".repeat(MAXIMUM - 1)}…`);
  });

  it.each(Object.entries(SECRETS))("has nothing of a secret (%s) that a cut went through", (_, secret) => {
    const rough = roughCut("x".repeat(50_000), MAXIMUM).length;
    for (const place of [MAXIMUM, rough])
      for (let before = 0; before <= secret.length; before++) {
        // Others before it, of which less stays, draw what a rough cut has left of it to the front.
        const others = `${SECRETS["a JWT"]} `.repeat(Math.floor((place - before) / (JWT.length + 1)));
        for (const filler of ["", others]) {
          const told = cut(`${filler.padEnd(place - before, " ")}${secret} ${"y".repeat(20_000)}`);
          expect(told.length).toBeLessThanOrEqual(MAXIMUM);
          expect(told).not.toContain(secret.slice(0, 8));
        }
      }
  });
});
