// Which service manager a platform has.
import { UsageError } from "../outcome.ts";
import { launchd } from "./launchd.ts";
import type { Platform, ServiceManager } from "./plan.ts";
import { systemd } from "./systemd.ts";
import { windows } from "./windows.ts";

const MANAGERS: Record<Platform, ServiceManager> = { linux: systemd, darwin: launchd, win32: windows };

export function managerOf(platform: string): ServiceManager {
  if (platform in MANAGERS) return MANAGERS[platform as Platform];
  throw new UsageError(
    `no service manager of ${platform} is known: expected ${Object.keys(MANAGERS).join(", ")}`,
  );
}
