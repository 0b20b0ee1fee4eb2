// How a command inside a distro is asked for: by argv (`-e`), never through a shell, which would read it a second time,
// and always from `/`, since the folder of a Windows service means nothing inside.

export interface InsideCommand {
  distro: string;
  /** Linux user. */
  user: string;
  /** The program by its full path, and its arguments. */
  argv: string[];
}

/** As wsl.exe takes them: it cuts its line at blanks, and takes no quotes away. */
const DISTRO_NAME = /^[a-zA-Z0-9._-]{1,256}$/;
const USER_NAME = /^[a-z_][a-z0-9_-]{0,31}$/;
/** The first word follows rules of its own, without escapes. */
const PROGRAM = /^(?:\/[A-Za-z0-9._+-]+)+$/;
/** UTF-16 units of a whole Windows command line. */
const LINE_MAX = 32_767;
/** For the path of wsl.exe itself. */
const PROGRAM_MAX = 1_024;

export const isDistroName = (name: string): boolean =>
  DISTRO_NAME.test(name) && name.toLowerCase() !== "legacy";

/** A path among wsl.exe's own options can hold no blank. */
export const isPlainPath = (file: string): boolean => file !== "" && !/[\s"]/.test(file);

/** Arguments for wsl.exe. Throws for what it would understand otherwise: whoever asks has no such names. */
export function insideArguments({ distro, user, argv }: InsideCommand): string[] {
  const [program = "", ...rest] = argv;
  if (!isDistroName(distro)) throw new Error(`no name of a distro: ${distro}`);
  if (!USER_NAME.test(user)) throw new Error(`no name of a Linux user: ${user}`);
  if (!PROGRAM.test(program)) throw new Error(`expected the full path of a program, got ${program}`);
  if (rest.some((argument) => argument.includes("\0"))) throw new Error("an argument holds a NUL");
  const args = ["-d", distro, "-u", user, "--cd", "/", "-e", program, ...rest];
  const units = args.reduce((sum, argument) => sum + quotedLength(argument), PROGRAM_MAX);
  if (units > LINE_MAX)
    throw new Error(`a command line of ${units} units; Windows takes ${LINE_MAX}: send it on stdin`);
  return args;
}

/** At most, with the blank before it. */
const quotedLength = (argument: string): number =>
  argument.length + (argument.match(/["\\]/g)?.length ?? 0) + 3;
