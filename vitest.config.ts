import path from "node:path";
import { defineConfig } from "vitest/config";

/** A whole mesh under load or faults, which has to be well again in time: one of these at a time, after all others. */
const ALONE = ["chaos", "drill", "failover", "restore", "rolling-upgrade", "two-versions"].map(
  (name) => `test/e2e/${name}.test.ts`,
);

// Unit tests touch no server and no process; integration tests start their own on free ports.
export default defineConfig({
  test: {
    // Work that is judged writes down what it does where its test can read it. Tests of the sandbox ask for one.
    env: {
      MESH_HOST_SANDBOX: "0",
      // Tests start hundreds of processes of the same sources: each begins in half the time.
      NODE_COMPILE_CACHE: path.resolve("node_modules/.cache/node-compile"),
    },
    // Of `expect.poll`, for a state that comes within seconds, on a busy machine too.
    expect: { poll: { timeout: 20_000 } },
    // Most of them wait: for leases, for agents, for programs that begin.
    maxWorkers: 2,
    projects: [
      { test: { name: "unit", include: ["test/unit/**/*.test.ts"], testTimeout: 60_000 } },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          // Most are done in seconds; what is left over is for a machine that has other things to do.
          testTimeout: 180_000,
          hookTimeout: 120_000,
          globalSetup: ["test/setup/nats-server.ts"],
        },
      },
      {
        test: {
          name: "agents",
          include: ["test/agents/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          globalSetup: [
            "test/setup/nats-server.ts",
            "test/setup/agent-programs.ts",
            "test/setup/distro-image.ts",
          ],
        },
      },
      {
        test: {
          name: "wsl",
          include: ["test/wsl/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          globalSetup: ["test/setup/nats-server.ts", "test/setup/distro-image.ts"],
          // Each file has a fake Windows of its own; another program may have one for all.
          fileParallelism: process.env.MESH_WSL_EXE === undefined,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude: ALONE,
          testTimeout: 180_000,
          hookTimeout: 120_000,
          globalSetup: ["test/setup/nats-server.ts"],
        },
      },
      {
        test: {
          name: "e2e-alone",
          include: ALONE,
          testTimeout: 180_000,
          hookTimeout: 120_000,
          globalSetup: ["test/setup/nats-server.ts"],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
