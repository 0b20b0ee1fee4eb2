// What of a Windows environment reaches a Linux command: what WSLENV lists, and WSLENV itself.

/** Flags: `p` a path, `l` a list of paths, `u` only to Linux, `w` only to Windows; an unknown one drops the entry. */
export function crossing(env: NodeJS.ProcessEnv): Record<string, string> {
  const { WSLENV } = env;
  if (WSLENV === undefined) return {};
  const crossed: Record<string, string> = { WSLENV };
  for (const entry of WSLENV.split(":")) {
    const [name = "", flags = ""] = entry.split("/");
    if (name === "" || /[^plu]/.test(flags)) continue;
    const value = env[name] ?? "";
    if (flags.includes("l")) crossed[name] = value.split(";").map(linuxPath).join(":");
    else crossed[name] = flags.includes("p") ? linuxPath(value) : value;
  }
  return crossed;
}

const linuxPath = (file: string): string =>
  file.replace(/^([A-Za-z]):/, (_, drive: string) => `/mnt/${drive.toLowerCase()}`).replaceAll("\\", "/");
