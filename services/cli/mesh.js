#!/usr/bin/env node
// The program `mesh` for whatever Node is on PATH (20 or newer): runs the real one on a Node that is recent enough.
// It must never outlive that one, nor leave it behind, and it holds no logic of its own.
import { spawn } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import module from "node:module";
import { constants } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const LOWEST = 24;
const here = path.dirname(realpathSync(fileURLToPath(import.meta.url)));
const main = path.join(here, "main.ts");
// What Node has compiled of the sources is kept, and a call begins in half the time: beside them, where nobody else
// may write who may not change them too.
const compiled = path.join(here, "../../node_modules/.cache/node-compile");

if (Number(process.versions.node.split(".")[0]) >= LOWEST) {
  module.enableCompileCache(compiled);
  const { run } = await import("./main.ts");
  await run();
} else onOwnNode();

function onOwnNode() {
  const program = path.join(
    here,
    "../../node_modules/node/bin",
    process.platform === "win32" ? "node.exe" : "node",
  );
  if (!existsSync(program)) giveUp(`there is none in ${path.dirname(program)}`);
  // The channel tells the program that this process has gone, even when it was killed.
  const child = spawn(program, [main, ...process.argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { NODE_COMPILE_CACHE: compiled, ...process.env, MESH_LAUNCHER_PID: String(process.pid) },
  });
  child.once("error", (error) => giveUp(`${program} does not start (${error.message})`));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK"])
    if (signal in constants.signals) process.on(signal, () => child.kill(signal));
  child.once("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}

function giveUp(why) {
  process.stderr.write(
    `mesh: Node ${process.versions.node} is too old and the project's own cannot be used: ${why}.\n` +
      `Run \`npm ci\` in ${path.join(here, "../..")} (with install scripts allowed), or use Node ${LOWEST} or newer.\n`,
  );
  process.exit(1);
}
