// git's credential helper where the machine's own credentials are not: it passes the question on to the program that
// makes trees, which asks the host. It keeps nothing.
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { shellWord } from "../../../shared/process/shell-word.ts";

/** Configuration by which git asks this helper and no other. `command` starts it, less the action. */
export function gitConfigFor(command: string[]): string {
  const quoted = command.map(shellWord).join(" ");
  return `[credential]\n\thelper =\n\thelper = "!${quoted.replaceAll(/["\\]/g, "\\$&")}"\n`;
}

/** One call of git's: `get`, `store` or `erase`, with what it is about on stdin. */
export async function helpWithCredential([socketFile = "", action = ""]: string[]): Promise<void> {
  const asked = await text(process.stdin);
  const socket = connect({ path: socketFile, allowHalfOpen: true });
  socket.end(`${action}\n${asked}`);
  process.stdout.write(await text(socket));
}
