// What the screen of an agent in a terminal asks for: the one sign of that which agentapi gives. Pure.

export interface View {
  sequence: number;
  status: string;
  screen: string;
  /** For so long it has stayed as it is, but for spinners and clocks. */
  stillMs: number;
}

/** Keystrokes that say yes or no to what is asked; null where a yes is none that could be known. */
export interface Question {
  words: string;
  yes: string | null;
  no: string;
}

const ENTER = "\r";
export const ESCAPE = "\u001b";
/** Only what stands at the end of a screen waits for somebody, lines. */
const END_LINES = 12;

/** Ways to ask, the surest first. */
const QUESTIONS: { shows: RegExp; yes: string | null; no: string }[] = [
  // A menu whose mark is on a yes.
  {
    shows: /^[^\p{L}\n]*[❯›>▸]\s*(?:\d\.\s*)?(?:yes|allow|approve|proceed|accept)\b/imu,
    yes: ENTER,
    no: ESCAPE,
  },
  // Another one: what Enter would do there, nobody knows.
  { shows: /^[^\p{L}\n]*[❯›▸]\s*\d\.\s/mu, yes: null, no: ESCAPE },
  { shows: /\besc(?:ape)? to (?:cancel|exit|reject|go back)\b/i, yes: null, no: ESCAPE },
  { shows: /\(y\)es\/\(n\)o|\[y\/n\]|\(y\/n\)/i, yes: `y${ENTER}`, no: `n${ENTER}` },
  { shows: /\b(?:press|hit) enter\b/i, yes: null, no: ESCAPE },
];

/** What it asks; null if it asks nothing that is known. */
export function questionOn(screen: string): Question | null {
  const end = screen.split("\n").slice(-END_LINES).join("\n");
  const found = QUESTIONS.find(({ shows }) => shows.test(end));
  return found === undefined ? null : { words: end, yes: found.yes, no: found.no };
}

/** A question is one once the screen has come to rest. */
export const SETTLED_MS = 2_000;

/**
 * `still`: what it shows counts. `quiet`: it has done so for so long that a turn counts as over, since agentapi's
 * `stable` alone only means that the screen stands still.
 */
export function stateOf({ stillMs, status, screen }: View, quietMs: number): "busy" | "still" | "quiet" {
  if (stillMs < SETTLED_MS) return "busy";
  // What marks a question may blink.
  if (status !== "stable" && questionOn(screen) === null) return "busy";
  return stillMs >= quietMs ? "quiet" : "still";
}

/** What a person or a pull request has written, without keys that a terminal would obey; agentapi takes no blank ends. */
export const typed = (text: string): string =>
  text
    .replace(/\r\n?/g, "\n")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is taken out.
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "")
    .trim();

/** Without what moves on a screen that asks: clocks, spinners, marks. */
export const wordsOf = (text: string): string => text.replace(/[^\p{L}]/gu, "");
