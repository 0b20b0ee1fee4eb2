// Whether the machine runs on mains power or on its battery. What cannot be told is `unknown`.
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import type { OwnerReading } from "../../../shared/contracts/heartbeat.ts";
import { POWERSHELL, powershellArguments, printedBy } from "./program.ts";

type Power = OwnerReading["power"];

/** How often it is read: on Windows each reading costs a good part of a second of CPU time, ms. */
export const POWER_EVERY_MS = process.platform === "win32" ? 300_000 : 15_000;

export function readPower(): Promise<Power> {
  switch (process.platform) {
    case "linux":
      return powerOfLinux("/sys/class/power_supply");
    case "darwin":
      return printedBy("pmset", ["-g", "ps"]).then(powerOfMac);
    case "win32":
      return printedBy(POWERSHELL, powershellArguments(POWER_LINE)).then(powerOfWindows);
    default:
      return Promise.resolve("unknown");
  }
}

const BATTERY = "Battery";
/** `USB` has variants such as `USB_PD`. */
const ADAPTER = /^(Mains|Wireless|USB)/;

/** `folder` has a folder for each source of power. A mouse has a battery too, which does not run the machine. */
export async function powerOfLinux(folder: string): Promise<Power> {
  const names = await readdir(folder).catch(() => null);
  if (names === null) return "unknown";
  const supplies = await Promise.all(
    names.map(async (name) => {
      const [type, scope, online, status] = await Promise.all(
        ["type", "scope", "online", "status"].map(async (file) =>
          (await readFile(path.join(folder, name, file), "utf8").catch(() => "")).trim(),
        ),
      );
      return { type: type ?? "", scope, online, status };
    }),
  );
  const own = supplies.filter(({ scope }) => scope !== "Device");
  if (own.some(({ type, online }) => ADAPTER.test(type) && online === "1")) return "ac";
  const batteries = own.filter(({ type }) => type === BATTERY);
  // Without one it runs on what it is plugged into.
  if (batteries.length === 0) return "ac";
  if (batteries.some(({ status }) => status === "Discharging")) return "battery";
  return batteries.every(({ status }) => status === "Charging" || status === "Full") ? "ac" : "unknown";
}

/** Its first line is `Now drawing from 'AC Power'`, or `'Battery Power'`. */
export function powerOfMac(printed: string | null): Power {
  const [, source] = /'(AC|Battery) Power'/.exec(printed ?? "") ?? [];
  return source === undefined ? "unknown" : source === "AC" ? "ac" : "battery";
}

/** `ACLineStatus` of the system, as a number. */
const POWER_LINE =
  "Add-Type -AssemblyName System.Windows.Forms; " +
  "[int][System.Windows.Forms.SystemInformation]::PowerStatus.PowerLineStatus";

export function powerOfWindows(printed: string | null): Power {
  switch (printed?.trim()) {
    case "0":
      return "battery";
    case "1":
      return "ac";
    default:
      return "unknown";
  }
}
