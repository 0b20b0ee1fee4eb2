// Reads how WSL is, by its own program, and starts none of its distros but the mesh's own. Each call has its few seconds,
// so one that hangs is a finding.
import { GOLDEN_DISTRO } from "../../host-agent/wsl/distro-layout.ts";
import { findWsl } from "../../host-agent/wsl/find-wsl.ts";
import { createWsl, type Wsl } from "../../host-agent/wsl/wsl.ts";
import { failed, type WslOutcome } from "../../host-agent/wsl/wsl-error.ts";
import type { GuestReading, WslReading } from "./wsl.ts";

/** A first start of WSL's machine takes up to 10 s and more. */
const TIMES = { version: 5_000, list: 8_000, run: 20_000, start: 20_000, stop: 5_000, copy: 5_000 };

const CONF = ["/bin/sh", "-c", "cat /etc/wsl.conf 2>/dev/null || true"];
const LOOK = `
echo "clock $(date +%s%3N)"
echo "disk $(df -kP / | awk 'END { print $3, $4 }')"
[ -r /proc/pressure/memory ] && echo pressure
command -v bwrap >/dev/null && echo bubblewrap
for agent in claude codex; do command -v "$agent" >/dev/null && echo "agent $agent"; done
sed 's/^/controllers /' /sys/fs/cgroup/cgroup.controllers 2>/dev/null
sed 's/^/conf /' /etc/wsl.conf 2>/dev/null
true`;

export async function readWsl(named: string | undefined): Promise<WslReading> {
  const program = await findWsl(named);
  if (!program.ok) return program;
  const wsl = createWsl(program.value, TIMES);
  const [version, distros] = await Promise.all([wsl.version(), wsl.list()]);
  if (!distros.ok) return distros;
  const running = distros.value.filter(({ name, state }) => state === "Running" && name !== GOLDEN_DISTRO);
  const [guest, ...systemd] = await Promise.all([
    distros.value.some(({ name }) => name === GOLDEN_DISTRO) ? readGuest(wsl) : null,
    ...running.map(({ name }) => wsl.run({ distro: name, user: "root", argv: CONF })),
  ]);
  return {
    program: program.value,
    version: version.ok ? version.value : version,
    distros: distros.value,
    withSystemd: running.flatMap(({ name }, index) => {
      const conf = systemd[index];
      return conf?.ok && isOn(conf.value.stdout.toString(), "boot", "systemd", false) ? [name] : [];
    }),
    guest: guest === null ? null : guest.ok ? guest.value : guest,
  };
}

async function readGuest(wsl: Wsl): Promise<WslOutcome<GuestReading>> {
  const started = await wsl.start(GOLDEN_DISTRO);
  if (!started.ok) return started;
  const sentMs = Date.now();
  const end = await wsl.run({ distro: GOLDEN_DISTRO, user: "root", argv: ["/bin/sh", "-c", LOOK] });
  const middleMs = (sentMs + Date.now()) / 2;
  if (!end.ok) return end;
  const lines = end.value.stdout.toString().split("\n");
  // Its words alone say that it was done, not its exit code.
  if (!lines.some((line) => /^clock \d{13}$/.test(line)))
    return failed(
      "unknown",
      `it does not tell how it is: exit code ${end.value.exitCode}, ${end.value.stderr.trim()}`,
    );
  const after = (word: string) =>
    lines.flatMap((line) => (line.startsWith(`${word} `) ? [line.slice(word.length + 1)] : []));
  const [used = 0, free = 0] = (after("disk")[0] ?? "").split(" ").map(Number);
  const conf = after("conf").join("\n");
  return {
    ok: true,
    value: {
      aheadMs: Number(after("clock")[0] ?? Number.NaN) - middleMs,
      pressure: lines.includes("pressure"),
      interop: isOn(conf, "interop", "enabled", true),
      drives: isOn(conf, "automount", "enabled", true),
      disk: { usedBytes: used * 1_024, freeBytes: free * 1_024 },
      bubblewrap: lines.includes("bubblewrap"),
      agents: after("agent"),
      controllers: (after("controllers")[0] ?? "").split(" "),
    },
  };
}

/** A switch in `/etc/wsl.conf`. */
function isOn(conf: string, section: string, key: string, byDefault: boolean): boolean {
  let within = false;
  let on = byDefault;
  for (const line of conf.split("\n").map((one) => one.trim().toLowerCase())) {
    if (line.startsWith("[")) within = line === `[${section}]`;
    const [, name, value] = /^(\w+)\s*=\s*"?(\w+)/.exec(line) ?? [];
    if (within && name === key) on = value === "true" || value === "1";
  }
  return on;
}
