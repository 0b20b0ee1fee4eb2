// Checks of Windows itself: who we are there, and the disks of WSL's distros. What it takes to know that is asked of
// PowerShell, once.
import { execa } from "execa";
import { z } from "zod";
import { powershell } from "../host/powershell.ts";
import { formatSize, GIB } from "../terminal/quantities.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

export const WindowsReading = z.object({
  account: z.object({ name: z.string(), sid: z.string() }),
  /** 0: of services. */
  session: z.number(),
  longPaths: z.boolean(),
  disks: z.array(
    z.object({
      distro: z.string(),
      file: z.string(),
      /** Null: there is no such file. */
      bytes: z.number().nullable(),
      /** As .NET names them, of the folder and the file. */
      attributes: z.string(),
      /** On the drive that it lies on. */
      freeBytes: z.number(),
    }),
  ),
});
export type WindowsReading = z.infer<typeof WindowsReading>;

const SERVICE_ACCOUNTS: Record<string, string> = {
  "S-1-5-18": "LocalSystem",
  "S-1-5-19": "LocalService",
  "S-1-5-20": "NetworkService",
};
const FREE_FAIL_BYTES = 5 * GIB;
const FREE_WARN_BYTES = 20 * GIB;

export function judgeWindows({ account, session, disks }: WindowsReading): Finding[] {
  const service = SERVICE_ACCOUNTS[account.sid];
  return [
    service !== undefined
      ? fail(
          "account",
          `${service} (session ${session}), which has no distros`,
          "run the host agent as an account of its own (`mesh host install`, docs/windows.md)",
        )
      : session === 0
        ? ok("account", `${account.name} in session 0, as a service`)
        : warn(
            "account",
            `${account.name} in session ${session}: its distros end when it logs off`,
            "for a host that stays, install the service under an account of its own (`mesh host install`)",
          ),
    ...disks.map(judgeDisk),
  ];
}

function judgeDisk({ distro, file, bytes, attributes, freeBytes }: WindowsReading["disks"][number]): Finding {
  const check = `disk of ${distro}`;
  if (bytes === null)
    return fail(check, `${file} is not there`, `wsl --unregister ${distro}, and make it anew`);
  if (/Compressed|Encrypted/.test(attributes))
    return fail(
      check,
      `${file} is compressed or encrypted, which WSL does not start`,
      "stop WSL, take that off the folder (compact /u /s, or its properties), and start again",
    );
  const found = `${formatSize(bytes)}, ${formatSize(freeBytes)} free on its drive`;
  const fix = "free some: a full drive makes the distro's disk read-only in the middle of work";
  if (freeBytes < FREE_FAIL_BYTES) return fail(check, found, fix);
  return freeBytes < FREE_WARN_BYTES ? warn(check, found, fix) : ok(check, found);
}

const SCRIPT = powershell.script([
  "$me = [Security.Principal.WindowsIdentity]::GetCurrent()",
  "$long = (Get-ItemProperty 'HKLM:\\SYSTEM\\CurrentControlSet\\Control\\FileSystem').LongPathsEnabled -eq 1",
  "$disks = @(Get-ChildItem 'HKCU:\\Software\\Microsoft\\Windows\\CurrentVersion\\Lxss' -ErrorAction SilentlyContinue | ForEach-Object { $_ | Get-ItemProperty } | Where-Object { $_.DistributionName -and $_.Version -eq 2 } | ForEach-Object { $folder = $_.BasePath -replace '^\\\\\\\\\\?\\\\', ''; $name = if ($_.VhdFileName) { $_.VhdFileName } else { 'ext4.vhdx' }; $file = Join-Path $folder $name; $item = Get-Item -LiteralPath $file -ErrorAction SilentlyContinue; @{ distro = $_.DistributionName; file = $file; bytes = if ($item) { $item.Length } else { $null }; attributes = \"$(if ($item) { $item.Attributes }) $((Get-Item -LiteralPath $folder -ErrorAction SilentlyContinue).Attributes)\"; freeBytes = ([IO.DriveInfo]$folder.Substring(0, 1)).AvailableFreeSpace } })",
  "@{ account = @{ name = $me.Name; sid = $me.User.Value }; session = (Get-Process -Id $PID).SessionId; longPaths = $long; disks = $disks } | ConvertTo-Json -Depth 4 -Compress",
]);
const ANSWER_MS = 15_000;

/** Null on other platforms. Throws when PowerShell does not tell. */
export async function readWindows(): Promise<WindowsReading | null> {
  if (process.platform !== "win32") return null;
  const [program = "", ...args] = powershell.argv;
  const { stdout, stderr, failed } = await execa(program, args, {
    input: SCRIPT,
    reject: false,
    timeout: ANSWER_MS,
  });
  if (failed) throw new Error(`PowerShell does not tell: ${stderr ?? "it did not end"}`);
  return WindowsReading.parse(JSON.parse(stdout));
}
