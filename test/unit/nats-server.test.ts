// The rules around nats-server that need no server: which version will do, what its configuration says, where the
// cache is, what a zip holds. Nothing here may start a process.
import { assert, nat, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultCacheDir } from "../../shared/nats-server/cache.ts";
import { archiveName } from "../../shared/nats-server/fetch-release.ts";
import {
  isRecentEnough,
  lowestVersion,
  refusal,
  requirements,
} from "../../shared/nats-server/requirements.ts";
import { objectionTo, renderServerConfig } from "../../shared/nats-server/server-config.ts";
import { readZipMember } from "../../shared/nats-server/zip.ts";
import { zipOf } from "../support/zip-writer.ts";

describe("requirements", () => {
  test("the lowest version is that of the newest feature", () => {
    expect(lowestVersion).toBe("2.12.0");
    expect(requirements.map(({ since }) => since)).toContain(lowestVersion);
    for (const { since } of requirements) {
      expect(since.localeCompare(lowestVersion, "en", { numeric: true })).toBeLessThanOrEqual(0);
    }
  });

  test.each(["2.12.0", "v2.12.0", "2.12.1-RC.1", "2.15.1", "2.100.0", "3.0.0"])(
    "%s is recent enough",
    (version) => {
      expect(isRecentEnough(version)).toBe(true);
    },
  );

  test.each(["2.9.10", "2.11.99", "2.12.0-RC.1", "1.99.99", "", "2.12", "latest"])("%s is not", (version) => {
    expect(isRecentEnough(version)).toBe(false);
  });

  test("a version that is recent enough stays so with every later patch, minor and major", () => {
    const part = nat({ max: 50 });
    assert(
      property(part, part, part, (major, minor, patch) => {
        if (!isRecentEnough(`${major}.${minor}.${patch}`)) return;
        expect(isRecentEnough(`${major}.${minor}.${patch + 1}`)).toBe(true);
        expect(isRecentEnough(`${major}.${minor + 1}.0`)).toBe(true);
        expect(isRecentEnough(`${major + 1}.0.0`)).toBe(true);
      }),
    );
  });

  test("a refusal says what was found, what is needed, what is missing and where to get it", () => {
    const text = refusal("2.11.4");
    expect(text).toContain("2.11.4");
    expect(text).toContain("2.12.0 or newer");
    expect(text).toContain("persist_mode");
    expect(text).not.toContain("filter_subjects");
    expect(text).toContain("https://github.com/nats-io/nats-server/releases");
  });
});

describe("the server's configuration", () => {
  const config = {
    host: "127.0.0.1",
    port: 0,
    syncInterval: "always",
    storeDir: "C:\\mesh\\store",
    logFile: "/mesh/log",
    portsFileDir: "/mesh",
  } as const;

  test("asks for a free port, syncs as told and escapes what it quotes", () => {
    const text = renderServerConfig({ ...config, token: 'a"b\\c' });
    expect(text).toContain("port: -1\n");
    expect(text).toContain('sync_interval: "always"');
    expect(text).toContain('store_dir: "C:\\\\mesh\\\\store"');
    expect(text).toContain('token: "a\\"b\\\\c"');
  });

  test("has no authorization without a token", () => {
    expect(renderServerConfig(config)).not.toContain("authorization");
  });

  test.each(["127.0.0.1", "127.8.9.10", "localhost", "::1"])("may listen on %s", (host) => {
    expect(objectionTo({ host, port: 4222 })).toBeUndefined();
  });

  test.each(["0.0.0.0", "::", "192.168.1.2", "127.evil.example"])("may not listen on %s", (host) => {
    expect(objectionTo({ host, port: 4222 })).toContain("loopback");
  });

  test.each(["", "two\nlines", "$2a$11$abcdefghijklmnopqrstuu"])("refuses the token %j", (token) => {
    expect(objectionTo({ host: "127.0.0.1", port: 0, token })).toContain("token");
    expect(() => renderServerConfig({ ...config, token })).toThrow(RangeError);
  });
});

describe("the cache folder", () => {
  test.each([
    ["linux", {}, "/home/ada/.cache/agent-mesh"],
    ["linux", { XDG_CACHE_HOME: "/var/cache/ada" }, "/var/cache/ada/agent-mesh"],
    ["linux", { XDG_CACHE_HOME: "relative" }, "/home/ada/.cache/agent-mesh"],
    ["darwin", {}, "/home/ada/Library/Caches/agent-mesh"],
    ["win32", { LOCALAPPDATA: "D:\\Local" }, "D:\\Local\\agent-mesh\\cache"],
  ] as const)("on %s with %j is %s", (platform, env, expected) => {
    expect(defaultCacheDir(env, platform, "/home/ada")).toBe(expected);
  });
});

test("the release's archives are named after system and processor", () => {
  expect(archiveName("win32", "x64")).toMatch(/^nats-server-v[\d.]+-windows-amd64\.zip$/);
  expect(archiveName("darwin", "arm64")).toMatch(/-darwin-arm64\.zip$/);
  expect(() => archiveName("aix", "ppc64")).toThrow("no archive for aix on ppc64");
});

describe("a zip", () => {
  const zip = zipOf([
    { name: "a/README", content: "read me" },
    { name: "a/nats-server", content: "x".repeat(10_000) },
    { name: "a/stored", content: "as it is", stored: true },
  ]);

  test("gives the wanted member, packed or stored", () => {
    expect(readZipMember(zip, (name) => name.endsWith("/nats-server"))?.toString()).toBe("x".repeat(10_000));
    expect(readZipMember(zip, (name) => name === "a/stored")?.toString()).toBe("as it is");
    expect(readZipMember(zip, () => false)).toBeUndefined();
  });

  test("is refused when it is cut short or damaged", () => {
    expect(() => readZipMember(zip.subarray(0, zip.length - 30), () => true)).toThrow("not a zip archive");
    const damaged = Buffer.from(zip);
    damaged.write("AS", damaged.indexOf("as it is"));
    expect(() => readZipMember(damaged, (name) => name === "a/stored")).toThrow(
      "does not match its checksum",
    );
  });
});
