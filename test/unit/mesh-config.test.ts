// The mesh's configuration file: what it may say, and the words for what it may not.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConfigurationError } from "../../shared/config/environment.ts";
import {
  EMPTY_CONFIG,
  grantOf,
  parseMeshConfig,
  readMeshConfig,
  readSettings,
  settingsOf,
} from "../../shared/config/mesh-config.ts";

const EXAMPLE = "docs/mesh.example.toml";

function problemOf(text: string): string {
  try {
    parseMeshConfig(text, "/etc/mesh.toml");
  } catch (error) {
    if (error instanceof ConfigurationError) return error.message;
    throw error;
  }
  throw new Error("it was accepted");
}

describe("where gateways may push", () => {
  it.each([
    ["url = '--upload-pack=x'", "push.a/b.url: expected a URL that git pushes to"],
    ["url = 'https://u:p@host/a.git'", "push.a/b.url: expected a URL that git pushes to"],
    [
      "url = 'https://host/a.git'\ncredentials = 'here'",
      "push.a/b.credentials: expected the full path of a file",
    ],
    ["url = 'https://host/a.git'\nauthor = { name = 'x', email = 'a>' }", "expected a name without < and >"],
    ["url = 'https://host/a.git'\nworkflow = true", 'unknown field "workflow"; did you mean "workflows"?'],
    ["", "push.a/b.url"],
  ])("%s is refused with what was expected", (grant, problem) => {
    expect(problemOf(`[push."a/b"]\n${grant}`)).toContain(problem);
  });

  it("is asked for by a repository's name, however it is written", () => {
    const config = parseMeshConfig("[push.'Acme/Shop']\nurl = 'https://host/a.git'", "");
    expect(grantOf(config, "acme/SHOP")).toMatchObject({ url: "https://host/a.git", workflows: false });
    expect(grantOf(config, "acme/shop2")).toBeNull();
  });
});

describe("a host's settings in the file", () => {
  const settings = async (table: string, env: NodeJS.ProcessEnv = {}) => {
    const file = path.join(folder, "mesh.toml");
    await writeFile(file, `[host]\n${table}`);
    return readSettings({ ...env, MESH_CONFIG: file });
  };
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "mesh-config-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("are those of its environment, which come first", async () => {
    const table = `MESH_HOST_SLOTS = 4
MESH_HOST_SANDBOX = false
MESH_HOST_KEEP_MEMORY = "8GB"
MESH_HOST_LABELS = "os=windows,gpu=yes"`;
    expect(await settings(table)).toMatchObject({
      MESH_HOST_SLOTS: 4,
      MESH_HOST_SANDBOX: false,
      MESH_HOST_KEEP_MEMORY: 8e9,
      MESH_HOST_LABELS: { os: "windows", gpu: "yes" },
    });
    expect(await settings(table, { MESH_HOST_SLOTS: "7", MESH_HOST_SANDBOX: "" })).toMatchObject({
      MESH_HOST_SLOTS: 7,
      MESH_HOST_SANDBOX: false,
    });
    expect((await readSettings({})).MESH_HOST_SLOTS).toBe(2);
  });

  it.each([
    ["MESH_HOST_SLOT = 4", 'host: unknown field "MESH_HOST_SLOT"; did you mean "MESH_HOST_SLOTS"?'],
    ["MESH_HOST_SLOTS = 0", "host.MESH_HOST_SLOTS: "],
    ["MESH_HOST_SLOTS = [4]", "host.MESH_HOST_SLOTS: expected a text, a whole number, true or false"],
    ['MESH_HOST_GRACE = "soon"', "host.MESH_HOST_GRACE: expected finish, or a duration such as 10m"],
    ['ANTHROPIC_API_KEY = "x"', 'host: unknown field "ANTHROPIC_API_KEY"'],
  ])("%s is refused with what was expected", async (table, problem) => {
    await expect(settings(table)).rejects.toThrow(problem);
  });

  it("are all in the example, each as it may be written", async () => {
    const lines = (await readFile(EXAMPLE, "utf8")).split("\n").filter((line) => /^# MESH_\w+ = /.test(line));
    expect(lines.length).toBeGreaterThan(15);
    const given = lines.map((line) => line.slice(2)).filter((line) => !line.endsWith('""'));
    expect(await settings(given.join("\n"))).toEqual(
      await readSettings({ MESH_CONFIG: EXAMPLE }).then((by) => ({
        ...by,
        MESH_CONFIG: path.join(folder, "mesh.toml"),
      })),
    );
  });
});

describe("the mesh's configuration file", () => {
  it("reads the example in the docs", async () => {
    const config = await readMeshConfig(EXAMPLE);
    expect(settingsOf(config, "some/thing")).toMatchObject({
      priority: "normal",
      drafts: false,
      maxAttempts: 3,
    });
    expect(settingsOf(config, "octo-org/website")).toMatchObject({
      run: { command: ["make", "deploy-preview"] },
      priority: "high",
      drafts: true,
      // From the defaults.
      timeoutMs: 1_800_000,
    });
  });

  it("has an example that shows every key", async () => {
    const text = await readFile(EXAMPLE, "utf8");
    const known = problemOf("[defaults]\nzzzzzzzzzzzz = 1")
      .replace(/^.*known are: /, "")
      .split(", ");
    expect(known).toContain("drafts");
    expect(known.filter((key) => !text.includes(`\n${key} = `))).toStrictEqual([]);
  });

  it.each([
    ['acp = ["x"]\nagentapi = ["x"]', "runners.mine: expected either acp or agentapi"],
    ["version = '1'", "runners.mine: expected either acp or agentapi"],
    ['agentapi = ["x"]\nmode = "m"', "runners.mine: auth and mode are for acp"],
    ['acp = ["x"]\nquietMs = 5000', "runners.mine: quietMs is for agentapi"],
    ["acp = []", "runners.mine.acp: "],
    ['acp = ["x"]\nsecrets = ["A=B"]', "expected an environment variable's name"],
    ['acp = ["x"]\nsecret = ["A"]', 'did you mean "secrets"?'],
  ])("refuses a runner of %j", (text, problem) => {
    expect(problemOf(`[runners.mine]\n${text}`)).toContain(problem);
  });

  it("refuses runners whose names are taken, or none", () => {
    expect(problemOf('[runners.codex]\nacp = ["x"]')).toContain("choose another one");
    expect(problemOf('[runners."A b"]\nacp = ["x"]')).toContain("expected a runner's name");
  });

  it("is not needed", async () => {
    expect(await readMeshConfig(undefined)).toStrictEqual(EMPTY_CONFIG);
    expect(parseMeshConfig("", "mesh.toml")).toStrictEqual(EMPTY_CONFIG);
  });

  it("names the file, the key and the nearest known name for a typing error", () => {
    expect(problemOf("[default]\n")).toBe(
      '/etc/mesh.toml: unknown field "default"; did you mean "defaults"?',
    );
    expect(problemOf("[defaults]\ncheck = []")).toBe(
      '/etc/mesh.toml: defaults: unknown field "check"; did you mean "checks"?',
    );
    expect(problemOf('[repositories."a/b"]\nmaxAttempt = 2')).toBe(
      '/etc/mesh.toml: repositories.a/b: unknown field "maxAttempt"; did you mean "maxAttempts"?',
    );
    expect(problemOf('[repositories."a/b"]\nrun = { comand = "x" }')).toContain('did you mean "command"?');
  });

  it("names the key of a value that is none", () => {
    expect(problemOf('[defaults]\npriority = "urgent"')).toMatch(
      /^\/etc\/mesh\.toml: defaults\.priority: .*"high"/,
    );
    expect(problemOf('[defaults]\ntimeoutMs = "10m"')).toContain("defaults.timeoutMs: ");
    expect(problemOf("[repositories.website]\n")).toContain('"owner/name"');
  });

  it("says where it is no TOML", () => {
    expect(problemOf('[defaults]\npriority = "high')).toMatch(/^\/etc\/mesh\.toml:2:\d+: /);
  });

  it("says which file cannot be read", async () => {
    await expect(readMeshConfig("/nowhere/mesh.toml")).rejects.toThrow(
      /MESH_CONFIG: cannot read \/nowhere\/mesh\.toml/,
    );
  });
});
