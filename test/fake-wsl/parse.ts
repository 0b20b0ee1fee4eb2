// What a command line of wsl.exe asks for. Options are cut from the raw line at blanks; the first word that is none
// begins the Linux command, whose words are not looked at.
import path from "node:path";
import { argvOf, nextWord } from "./raw-line.ts";

export type Asked =
  | { kind: "usage" }
  | { kind: "error"; code: string | null; message?: string }
  | { kind: "list"; verbose: boolean; quiet: boolean; running: boolean; all: boolean }
  | { kind: "status" | "version" | "shutdown" }
  | { kind: "terminate" | "unregister" | "setDefault"; name: string }
  | { kind: "setDefaultUser"; name: string; user: string }
  | { kind: "import"; name: string; folder: string; file: string; vhd: boolean }
  | { kind: "importInPlace"; name: string; disk: string }
  | { kind: "export"; name: string; file: string; format: string }
  | { kind: "install"; file: string; name: string; folder: string | null }
  | Run;

export interface Run {
  kind: "run";
  distro: string | null;
  user: string | null;
  folder: string | null;
  /** `exec`: argv as it is. `shell`: one string for the user's shell. */
  command: string[];
}

const LONG: Record<string, string> = {
  "-l": "--list",
  "-t": "--terminate",
  "-v": "--version",
  "-s": "--set-default",
};

export function parse(line: string): Asked {
  const first = nextWord(line);
  const option = LONG[first.word] ?? first.word;
  switch (option) {
    case "--help":
      return { kind: "usage" };
    case "--status":
    case "--version":
    case "--shutdown":
      return { kind: option.slice(2) as "status" };
    case "--list":
      return list(argvOf(`wsl ${first.rest}`).slice(1));
    case "--terminate":
    case "--unregister":
      return named(option.slice(2) as "terminate", first.rest);
    case "--set-default":
      return named("setDefault", first.rest);
    default:
      return option.startsWith("--") && isChange(option) ? change(option, first.rest) : command(line);
  }
}

function named(kind: "terminate" | "unregister" | "setDefault", rest: string): Asked {
  const { word } = nextWord(rest);
  return word === "" ? { kind: "usage" } : { kind, name: word };
}

function list(words: string[]): Asked {
  const given = new Set(words.map((word) => ({ "-q": "--quiet", "-v": "--verbose" })[word] ?? word));
  const asked = {
    kind: "list" as const,
    verbose: given.delete("--verbose"),
    quiet: given.delete("--quiet"),
    running: given.delete("--running"),
    all: given.delete("--all"),
  };
  const mixed = (asked.quiet && asked.verbose) || (asked.all && asked.running);
  return given.size > 0 || mixed ? { kind: "usage" } : asked;
}

const CHANGES = ["--import", "--import-in-place", "--export", "--manage", "--install"];
const isChange = (option: string): boolean => CHANGES.includes(option);

function change(option: string, rest: string): Asked {
  const words = argvOf(`wsl ${rest}`).slice(1);
  const flags = new Map<string, string>();
  const plain: string[] = [];
  const valued = ["--version", "--format", "--name", "--location", "--from-file", "--set-default-user"];
  while (words.length > 0) {
    const word = words.shift() ?? "";
    if (valued.includes(word)) flags.set(word, words.shift() ?? "");
    else if (word.startsWith("--")) flags.set(word, "");
    else plain.push(word);
  }
  const [name, second, third, ...more] = plain;
  if (more.length > 0) return { kind: "usage" };
  if (option === "--import" && name && second && third)
    return { kind: "import", name, folder: path.resolve(second), file: third, vhd: flags.has("--vhd") };
  if (option === "--import-in-place" && name && second && !third)
    return { kind: "importInPlace", name, disk: path.resolve(second) };
  if (option === "--export" && name && second && !third)
    return {
      kind: "export",
      name,
      file: second,
      format: flags.has("--vhd") ? "vhd" : (flags.get("--format") ?? "tar"),
    };
  const user = flags.get("--set-default-user");
  if (option === "--manage" && name && user && !second) return { kind: "setDefaultUser", name, user };
  const file = flags.get("--from-file");
  if (option === "--install" && file && !name) {
    const base = path.basename(file).replace(/\..*$/, "");
    return {
      kind: "install",
      file,
      name: flags.get("--name") ?? base,
      folder: flags.get("--location") ?? null,
    };
  }
  return { kind: "usage" };
}

/** Options before a Linux command. */
function command(line: string): Asked {
  const asked: Run = { kind: "run", distro: null, user: null, folder: null, command: ["login"] };
  let shellType = "standard";
  for (let { word, rest } = nextWord(line); word !== ""; { word, rest } = nextWord(rest)) {
    const left = word === "" ? "" : `${word} ${rest}`.trim();
    const value = (takesQuotes = false) => {
      const next = nextWord(rest, takesQuotes);
      rest = next.rest;
      return next.word;
    };
    switch (word) {
      case "-d":
      case "--distribution":
      case "--distribution-id": {
        if (asked.distro !== null) return { kind: "error", code: null, message: "twice" };
        asked.distro = value();
        if (asked.distro === "") return { kind: "usage" };
        break;
      }
      case "-u":
      case "--user":
        asked.user = value();
        break;
      case "--cd": {
        asked.folder = value(true);
        const isPlace = /^(\/|~|[A-Za-z]:\\)/.test(asked.folder);
        if (!isPlace) return { kind: "error", code: "Wsl/E_INVALIDARG" };
        break;
      }
      case "--shell-type":
        shellType = value();
        if (!["standard", "login", "none"].includes(shellType)) return { kind: "usage" };
        break;
      case "-e":
      case "--exec":
        return rest.trim() === "" ? { kind: "usage" } : { ...asked, command: ["exec", ...argvOf(rest)] };
      case "--":
        return rest.trim() === "" ? asked : { ...asked, command: ["shell", rest] };
      default:
        if (word.startsWith("-")) return { kind: "error", code: null, message: `badArgument ${word}` };
        if (shellType === "none") return { ...asked, command: ["exec", ...argvOf(left)] };
        return { ...asked, command: ["shell", left] };
    }
  }
  return asked;
}
