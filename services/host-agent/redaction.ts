// Secrets out of what leaves an attempt: keys by their form, and this host's own by their value, whatever way a
// stream is cut. Pure.

export const REDACTED = "[redacted]";

/** In JSON the end of a line, and at a terminal a colour, end in a letter or digit that is no part of the word. */
const WORD_BEGINS = String.raw`(?<=^|[^A-Za-z0-9]|\\[bfnrt]|\\u[0-9a-f]{4}|\[[0-9;]*m)`;

/** Of a secret's form: how it begins, and the whole of it. */
const FORMS: { begins: string; whole: string }[] = [
  { begins: "sk-ant-", whole: "sk-ant-[A-Za-z0-9_-]{3,}" },
  { begins: "github_pat_", whole: "github_pat_[A-Za-z0-9_]{20,}" },
  ...["ghp_", "gho_", "ghu_", "ghs_", "ghr_"].map((begins) => ({
    begins,
    whole: `${begins}[A-Za-z0-9]{20,}`,
  })),
  ...["AKIA", "ASIA"].map((begins) => ({
    begins,
    whole: `${WORD_BEGINS}${begins}[A-Z0-9]{16}(?![A-Za-z0-9])`,
  })),
  { begins: "eyJ", whole: "eyJ[A-Za-z0-9_-]{8,}\\.eyJ[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_-]*" },
];
/** A shorter value than this would be found in ordinary words. */
export const VALUE_MIN = 8;
/** No secret of a host's own store is longer, characters. */
export const VALUE_MAX = 4_096;
/** So much of a beginning is held back at most, characters; what is longer than that is no key. */
const HELD_MAX = 16_384;
/** Every secret by its form is made of these. */
const TOKEN_CHARACTER = /[A-Za-z0-9_.-]/;

export interface Redactor {
  /** What is empty or too short to be a secret is passed over; what was learned is never forgotten. */
  learn(values: (string | undefined)[]): void;
  /** A whole text. */
  text(text: string): string;
  /** Looks through a stream of bytes for this host's own secrets; true from the first on. */
  finder(): (bytes: Buffer) => boolean;
  /** A stream of bytes: what is certain goes on at once, what may be the beginning of a secret waits for more. */
  stream(): RedactedStream;
}

interface RedactedStream {
  push(bytes: Buffer): Buffer;
  /** What was still held back. */
  end(): Buffer;
}

/** The same as JSON has it, which writes something before a character. */
const SECRET_MAX = 2 * VALUE_MAX;

/** A text that is too long, cut so that `redactedCut` can tell a secret in it from what the cut has left of one. */
export const roughCut = (text: string, maximum: number): string => text.slice(0, maximum + SECRET_MAX);

/** At most `maximum` characters of a text that `roughCut` has seen, without secrets. */
export function redactedCut(redactor: Pick<Redactor, "text">, text: string, maximum: number): string {
  const isCut = text.length >= maximum + SECRET_MAX;
  const certain = isCut ? redactor.text(text).slice(0, -SECRET_MAX) : redactor.text(text);
  return !isCut && certain.length <= maximum ? certain : `${certain.slice(0, maximum - 1)}…`;
}

/** `values` are secrets of this host. */
export function createRedactor(values: (string | undefined)[] = []): Redactor {
  /** The longest first. */
  let known: string[] = [];
  let all = patternOf(known);
  const learn: Redactor["learn"] = (more) => {
    const found = new Set([...known, ...more.flatMap(asWritten)]);
    if (found.size === known.length) return;
    known = [...found].sort((left, right) => right.length - left.length);
    all = patternOf(known);
  };
  learn(values);
  const begins = [...new Set(FORMS.map((form) => form.begins))];
  const text = (plain: string) => plain.replace(all, REDACTED);

  /** From where on the text may be a secret that is not complete. */
  function openFrom(plain: string): number {
    let from = plain.length;
    for (const value of known) from = Math.min(from, plain.length - overlap(plain, value));
    const start = tokenAtEnd(plain);
    const token = plain.slice(start);
    for (const beginning of begins) {
      const at = token.indexOf(beginning);
      from = Math.min(from, at === -1 ? plain.length - overlap(token, beginning) : start + at);
    }
    return from;
  }

  return {
    learn,
    text,
    finder() {
      let found = false;
      let end = "";
      return (bytes) => {
        const plain = end + bytes.toString("latin1");
        found ||= known.some((value) => plain.includes(value));
        end = plain.slice(-(known[0]?.length ?? 0));
        return found;
      };
    },
    stream() {
      let held = "";
      // One character for each byte: what is no secret goes on byte for byte.
      const bytesOf = (plain: string) => Buffer.from(plain, "latin1");
      return {
        push(bytes) {
          const plain = held + bytes.toString("latin1");
          const from = Math.max(openFrom(plain), plain.length - HELD_MAX);
          held = plain.slice(from);
          return bytesOf(text(plain.slice(0, from)));
        },
        end() {
          const rest = text(held);
          held = "";
          return bytesOf(rest);
        },
      };
    },
  };
}

const patternOf = (known: string[]): RegExp =>
  new RegExp([...known.map(escaped), ...FORMS.map(({ whole }) => whole)].join("|"), "g");

/** A value as it is, and as JSON has it: transcripts and results are written so. */
const asWritten = (value: string | undefined): string[] =>
  value === undefined || value.length < VALUE_MIN ? [] : [value, JSON.stringify(value).slice(1, -1)];

const escaped = (value: string): string => value.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");

/** Where the token begins that the text ends with; its length if it ends with none. */
function tokenAtEnd(text: string): number {
  let start = text.length;
  while (start > 0 && text.length - start < HELD_MAX && TOKEN_CHARACTER.test(text.charAt(start - 1))) start--;
  return start;
}

/** How many characters at the end of the text are the beginning of the word, not the whole of it. */
function overlap(text: string, word: string): number {
  for (let length = Math.min(word.length - 1, text.length); length > 0; length--)
    if (text.endsWith(word.slice(0, length))) return length;
  return 0;
}
