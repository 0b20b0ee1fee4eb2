// Opens a door's port in an instance's own network: a program that runs inside before the command does, listens, hands
// the listening socket out to the supervisor, and ends. So nothing of ours stays in the instance, and the command is
// what it would be without a door.
import { isSea } from "node:sea";

/** It stands alone: its own text is what a Node is given where none of our files is shown. */
export function openPort(port: number): void {
  const server = process.getBuiltinModule("node:net").createServer();
  const fail = (error: Error) => {
    process.stderr.write(`no door can be opened at 127.0.0.1:${port}: ${error.message}\n`);
    process.exit(1);
  };
  server.on("error", fail);
  process.on("disconnect", () => process.exit(0));
  server.listen(port, "127.0.0.1", () => process.send?.("listening", server));
}

/** Arguments of this very Node, or of the single-file program, wherever it is shown. */
export const openPortArguments = (port: number): [string, string, string] =>
  isSea()
    ? ["services/host-agent/guest/main.ts", "open-port", String(port)]
    : // Few threads: they count as its attempt's processes.
      ["--v8-pool-size=1", "--eval", `(${openPort.toString()})(${port})`];

/** Descriptor of the channel to the supervisor; its number in the environment of whoever may speak on it. */
export const CHANNEL = 3;
