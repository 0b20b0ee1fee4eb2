// What package managers keep between attempts: whose it is, who may see it, and what is dropped when there is too much.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { dependencyCaches } from "../../services/host-agent/workspace/dependency-caches.ts";
import { startAttemptHost } from "../support/attempt.ts";
import { makeRepository } from "../support/repository.ts";
import { isRoot, WITHOUT_BUBBLEWRAP } from "../support/supervisor.ts";

const run = (text: string) => ({ run: { command: text } });
const SHA = "a".repeat(40);
const source = (name: string) => ({ cloneUrl: `https://git.example.com/acme/${name}.git`, sha: SHA });

describe("a dependency cache", () => {
  it.each([
    ["as it is", []],
    ...(isRoot ? [["without bubblewrap", WITHOUT_BUBBLEWRAP] as const] : []),
  ] as const)(
    "is a repository's between attempts, apart for its gates, and no fork's: a machine %s",
    async (_, through) => {
      await using host = await startAttemptHost({ through: [...through] });
      using repository = makeRepository();
      const fill = 'test -w "$XDG_CACHE_HOME" && echo fetched > "$XDG_CACHE_HOME/package"';
      const isEmpty = 'test -z "$(ls -A "$XDG_CACHE_HOME")"';
      const first = await host.run(repository, {
        ...run(`${fill} && test "$npm_config_cache" = "$XDG_CACHE_HOME/npm"`),
        checks: [isEmpty, 'echo judged > "$XDG_CACHE_HOME/judged"'],
      });
      expect(first.failure).toBeNull();
      const second = await host.run(repository, {
        ...run('test "$(cat "$XDG_CACHE_HOME/package")" = fetched && rm "$XDG_CACHE_HOME/package"'),
        checks: ['test "$(ls -A "$XDG_CACHE_HOME")" = judged'],
      });
      expect(second.failure).toBeNull();
      // Strangers' work is kept from the network, or is not begun.
      if (!host.hello.ownNetwork) return;
      const strange = await host.run(repository, { ...run('test -z "${XDG_CACHE_HOME-}"'), fork: true });
      expect(strange.failure).toBeNull();
    },
  );
});

describe("the dependency caches of a host", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "mesh-dependencies-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("are lent to one attempt at a time", async () => {
    const caches = dependencyCaches(folder);
    const lent = await caches.lend("a", source("shop"), "work");
    expect(lent).not.toBeNull();
    expect(await caches.lend("b", source("shop"), "work")).toBeNull();
    expect(await caches.lend("b", source("shop"), "gates")).not.toBe(lent);
    await caches.takeBack("a");
    expect(await caches.lend("c", source("shop"), "work")).toBe(lent);
  });

  it("are begun anew when they have grown too large, and dropped when there are too many", async () => {
    const caches = dependencyCaches(folder, { maximumBytes: 500_000, kept: 2 });
    const use = async (name: string, bytes: number) => {
      const cache = (await caches.lend(name, source(name), "work")) ?? "";
      const before = await readdir(cache);
      await writeFile(path.join(cache, "package"), Buffer.alloc(bytes, "x"));
      await caches.takeBack(name);
      return before;
    };
    await use("one", 10);
    await use("two", 1_000_000);
    expect(await use("two", 10)).toEqual([]);
    expect(await use("one", 10)).toEqual(["package"]);
    await use("three", 10);
    expect(await readdir(folder)).toHaveLength(2);
    expect(await use("two", 10)).toEqual([]);
  });
});
