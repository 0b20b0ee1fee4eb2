// Builds nats-server with the Go toolchain of this machine, checked by Go's own checksum database. The last way,
// since it takes half a minute and more; it must never install anything outside the folder it is given.
import { join } from "node:path";
import { execa } from "execa";
import type { FetchTask, FetchWay } from "./fetch-way.ts";
import { programName, whyItFailed } from "./probe.ts";

const version = "2.15.2";
const module = `github.com/nats-io/nats-server/v2@v${version}`;

export function goWay(): FetchWay {
  return { origin: "go", title: `go install ${module} (Go 1.26 or newer)`, version, fetch: build };
}

async function build({ folder, env, onProgress, signal }: FetchTask): Promise<string> {
  onProgress(`Building nats-server v${version} with Go, which takes about a minute`);
  // A cross-compiled program would land elsewhere than in GOBIN and not run here.
  const { GOOS: _os, GOARCH: _arch, ...host } = env;
  const result = await execa("go", ["install", module], {
    cwd: folder,
    env: { ...host, GOBIN: folder, CGO_ENABLED: "0" },
    extendEnv: false,
    stdin: "ignore",
    reject: false,
    timeout: 900_000,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  signal?.throwIfAborted();
  if (result.failed) throw new Error(`go install: ${whyItFailed(result)}`);
  return join(folder, programName);
}
