// A command's environment, apart into what may be there while its sandbox is being made and what may not: outside, and as
// whoever the supervisor is, programs go by some of it, and the task's word would have another file run. Pure.

/** The loader's and the C library's, the shell's, and where programs are found. */
const STEERS =
  /^(PATH|LD_.*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|MALLOC_.*|BASH_ENV|ENV|SHELLOPTS|BASHOPTS|IFS|PS4|CDPATH|TMPDIR)$/;

const ENV = "/usr/bin/env";

export interface Apart {
  /** What the sandbox is made with. */
  outside: Record<string, string>;
  /** The command, which gets the rest once it is inside. */
  argv: string[];
}

/** `searchPath`: the supervisor's own. */
export function setApart(argv: string[], env: Record<string, string>, searchPath: string): Apart {
  const steering = Object.entries(env).filter(([name]) => STEERS.test(name));
  const others = Object.entries(env).filter(([name]) => !STEERS.test(name));
  const given = steering.map(([name, value]) => `${name}=${value}`);
  // Or `env` would take it for one more variable.
  const command = argv[0]?.includes("=") ? ["/bin/sh", "-c", 'exec "$@"', "sh", ...argv] : argv;
  return {
    outside: { ...Object.fromEntries(others), PATH: searchPath },
    argv: given.length === 0 ? command : [ENV, ...given, ...command],
  };
}
