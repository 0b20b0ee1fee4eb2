// Reads the code of an error that the operating system caused. Codes decide, never an error's text.

/** "ENOENT" and the like; undefined for every other kind of error. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
