// Checks of the machine's own git, by which everything is fetched.
import { execa } from "execa";
import { type Finding, fail, ok, warn } from "./finding.ts";

export interface GitReading {
  /** Null: there is none that answers. */
  version: string | null;
  largeFiles: boolean;
  /** On Windows: the system's switch for paths beyond 260 characters. Null elsewhere. */
  longPaths: boolean | null;
}

/** Settings by GIT_CONFIG_COUNT, and partial clones, are there since then. */
const LOWEST = [2, 31] as const;
const ANSWER_MS = 5_000;

export function judgeGit({ version, largeFiles, longPaths }: GitReading): Finding[] {
  const install = `install git ${LOWEST.join(".")} or newer, on the PATH of the host agent`;
  if (version === null) return [fail("git", "there is none on PATH", install)];
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const recent = major > LOWEST[0] || (major === LOWEST[0] && minor >= LOWEST[1]);
  return [
    recent ? ok("git", version) : fail("git", version, install),
    largeFiles
      ? ok("git lfs", "installed")
      : warn("git lfs", "not installed", "install git-lfs: repositories that use it fail here"),
    ...(longPaths === null
      ? []
      : [
          longPaths
            ? ok("long paths", "on")
            : warn(
                "long paths",
                "off: programs but git cannot open paths beyond 260 characters",
                "as administrator: reg add HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem /v LongPathsEnabled /t REG_DWORD /d 1 /f",
              ),
        ]),
  ];
}

export async function readGit(longPaths: boolean | null): Promise<GitReading> {
  const answer = async (args: string[]) => {
    const { failed, stdout } = await execa("git", args, {
      reject: false,
      timeout: ANSWER_MS,
      stdin: "ignore",
    });
    return failed ? null : (stdout ?? "");
  };
  const [version, lfs] = await Promise.all([answer(["--version"]), answer(["lfs", "version"])]);
  return {
    version: /(\d+\.\d+(\.\d+)?)/.exec(version ?? "")?.[1] ?? null,
    largeFiles: lfs !== null,
    longPaths,
  };
}
