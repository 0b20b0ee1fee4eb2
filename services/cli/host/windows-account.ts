// The account that the host agent has on Windows, and who may read its files there. It is of the mesh's own, because a
// WSL session ends with the Windows session in which it began, and nobody logs on with this one. Pure.
import { run } from "./placed.ts";
import { PlanError, type Step } from "./plan.ts";
import { literal, powershell } from "./powershell.ts";

const ACCOUNT = "meshagent";
// Groups by their number: their names are translated.
const SYSTEM = "*S-1-5-18";
const ADMINISTRATORS = "*S-1-5-32-544";
const USERS = "S-1-5-32-545";
/** Whoever has logged on at the machine itself, or to its desktop from afar. */
const INTERACTIVE = "*S-1-5-4";
/** Its members may log on as a batch job, as a scheduled task does. */
const PERFORMANCE_LOG_USERS = "S-1-5-32-559";

/** Throws a `PlanError` for what names no local account. */
export function accountOf(account: string | null): string {
  if (account === null) return ACCOUNT;
  if (/^[^"/\\[\]:;|=,+*?<>@%]{1,20}$/.test(account)) return account;
  throw new PlanError(`--account: expected the name of a local account of this machine, not ${account}`);
}

/** Makes it, or gives the one that is there a new password, which nobody knows. */
export const ownAccount = (password: string): Step =>
  run("an account that nobody logs on with", powershell.argv, {
    when: "new",
    input: powershell.script([
      `$password = ConvertTo-SecureString ${literal(password)} -AsPlainText -Force`,
      `if (Get-LocalUser -Name ${ACCOUNT} -ErrorAction SilentlyContinue) { Set-LocalUser -Name ${ACCOUNT} -Password $password } else { New-LocalUser -Name ${ACCOUNT} -Password $password -PasswordNeverExpires -UserMayNotChangePassword -Description 'agent-mesh host agent' | Out-Null }`,
      ...[USERS, PERFORMANCE_LOG_USERS].map(
        (group) => `Add-LocalGroupMember -SID ${group} -Member ${ACCOUNT} -ErrorAction SilentlyContinue`,
      ),
    ]),
  });

/** The folder and all below it are for administrators and Windows itself; the account may read, or change, too. */
export const onlyFor = (why: string, folder: string, account: string, may: "read" | "change"): Step =>
  run(why, icacls(folder, `${account}:(OI)(CI)${may === "read" ? "RX" : "M"}`));

/** One in which whoever uses the machine may say that it is to be paused, and nothing else; `above` lets them through. */
export const ownersFolder = (above: string, folder: string, account: string): Step[] => [
  run("whoever is logged on may pass through to theirs", [
    "icacls.exe",
    above,
    "/grant",
    `${INTERACTIVE}:(X)`,
    ITSELF,
  ]),
  run(
    "there they may say `mesh host pause`",
    icacls(folder, `${account}:(OI)(CI)RX`, `${INTERACTIVE}:(OI)(CI)M`),
  ),
];

const icacls = (folder: string, ...grants: string[]): string[] => [
  ...["icacls.exe", folder, "/inheritance:r", "/grant:r"],
  ...[SYSTEM, ADMINISTRATORS].map((who) => `${who}:(OI)(CI)F`),
  ...grants,
  ITSELF,
];

/** Whoever may change an empty folder may make it a junction to another one, which they would be given too. */
const ITSELF = "/L";
