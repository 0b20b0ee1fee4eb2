// What an agent would load by itself from a pull request's tree is the base branch's, whatever the pull request put
// there; and nothing of it is in the patch.
import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { patchCommand } from "../../services/host-agent/workspace/patch.ts";
import type { PreparedTree } from "../../services/host-agent/workspace/tree.ts";
import { TRUSTED_PATHS } from "../../services/host-agent/workspace/trusted-files.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { gitBeside, makeWorkspace, type Workspace } from "../support/workspace.ts";

let repository: Repository;
let workspace: Workspace;
beforeAll(() => {
  workspace = makeWorkspace();
  repository = makeRepository({
    files: { "CLAUDE.md": "of main\n", ".claude/settings.json": '{"of":"main"}', "README.md": "# Shop\n" },
    prFiles: {
      "CLAUDE.md": "of the pull request\n",
      ".claude/settings.json": '{"of":"the pull request"}',
      ".claude/hooks/run.sh": "touch /tmp/ran\n",
      ".mcp.json": "{}",
      "README.md": "# Better shop\n",
    },
  });
});
afterAll(() => {
  workspace[Symbol.dispose]();
  repository[Symbol.dispose]();
});

const textIn = ({ workTree }: PreparedTree, name: string) => {
  const file = path.join(workTree, name);
  return existsSync(file) ? readFileSync(file, "utf8") : null;
};

function patchOf(tree: PreparedTree): string {
  const { argv, env } = patchCommand({
    ...tree,
    sha: gitBeside(tree, "rev-parse", "HEAD"),
    leaveOut: TRUSTED_PATHS,
  });
  const [program = "", ...args] = argv;
  return execFileSync(program, args, {
    cwd: tree.workTree,
    env: { PATH: process.env.PATH, ...env },
    encoding: "utf8",
  });
}

describe("a tree that an agent is to work in", () => {
  it("has the remote's own branch's settings, and the pull request's files otherwise", async () => {
    const tree = await workspace.prepare(repository, { trusted: true });
    expect(tree.base?.isThere).toBe(true);
    expect(textIn(tree, "CLAUDE.md")).toBe("of main\n");
    expect(textIn(tree, ".claude/settings.json")).toBe('{"of":"main"}');
    expect(textIn(tree, ".claude/hooks/run.sh")).toBeNull();
    expect(textIn(tree, ".mcp.json")).toBeNull();
    expect(textIn(tree, "README.md")).toBe("# Better shop\n");
  });

  it("has those of the branch that is named, as it is now", async () => {
    repository.commit({ "CLAUDE.md": "of a release\n" }, { branch: "release", from: "main" });
    const wanted = { trusted: true, baseBranch: "release" };
    expect(textIn(await workspace.prepare(repository, wanted), "CLAUDE.md")).toBe("of a release\n");
    repository.commit({ "CLAUDE.md": "of a newer release\n" }, { branch: "release" });
    expect(textIn(await workspace.prepare(repository, wanted), "CLAUDE.md")).toBe("of a newer release\n");
  });

  it.each(["nowhere", "--upload-pack=touch /tmp/ran"])(
    "has none where the base %j cannot be had",
    async (name) => {
      const tree = await workspace.prepare(repository, { trusted: true, baseBranch: name });
      expect(tree.base?.isThere).toBe(false);
      expect(TRUSTED_PATHS.filter((file) => textIn(tree, file) !== null)).toEqual([]);
    },
  );

  it("is none while the remote does not say what the base is, though the commit is in the cache", async () => {
    using gone = makeRepository({ files: { "README.md": "# Gone\n" } });
    await workspace.prepare(gone, { trusted: true });
    renameSync(gone.path, `${gone.path}-away`);
    const prepared = await workspace.try(gone, { trusted: true, baseBranch: "main" });
    expect(prepared).toMatchObject({ ok: false, category: "source", permanent: false });
  });

  it("has a patch with what the agent did, and nothing of these", async () => {
    const tree = await workspace.prepare(repository, { trusted: true });
    expect(patchOf(tree)).toBe("");
    writeFileSync(path.join(tree.workTree, "CLAUDE.md"), "of the agent\n");
    writeFileSync(path.join(tree.workTree, ".claude/new.json"), "{}");
    writeFileSync(path.join(tree.workTree, "README.md"), "# Best shop\n");
    expect(patchOf(tree).match(/^diff .*$/gm)).toEqual(["diff --git a/README.md b/README.md"]);
  });

  it("is not led elsewhere by a link that the pull request put in their place", async () => {
    const outside = path.join(workspace.folder, "outside");
    using linked = makeRepository({ files: { "CLAUDE.md": "of main\n" } });
    const work = linked.git("rev-parse", "--show-toplevel");
    rmSync(path.join(work, "CLAUDE.md"));
    symlinkSync(outside, path.join(work, "CLAUDE.md"));
    symlinkSync(path.dirname(outside), path.join(work, ".claude"));
    const headSha = linked.commit({});
    const tree = await workspace.prepare({ ...linked, headSha }, { trusted: true });
    expect(lstatSync(path.join(tree.workTree, "CLAUDE.md")).isFile()).toBe(true);
    expect(textIn(tree, "CLAUDE.md")).toBe("of main\n");
    expect(existsSync(path.join(tree.workTree, ".claude"))).toBe(false);
    expect(existsSync(outside)).toBe(false);
  });

  it("removes nothing outside where a folder on the way is a link", async () => {
    const outside = path.join(workspace.folder, "elsewhere");
    mkdirSync(outside);
    const kept = path.join(outside, "copilot-instructions.md");
    writeFileSync(kept, "of somebody else\n");
    using linked = makeRepository({ files: { "README.md": "# Shop\n" } });
    symlinkSync(outside, path.join(linked.git("rev-parse", "--show-toplevel"), ".github"));
    await workspace.prepare({ ...linked, headSha: linked.commit({}) }, { trusted: true });
    expect(readFileSync(kept, "utf8")).toBe("of somebody else\n");
  });
});

describe("templates that the base branch has in files", () => {
  const configuration = (file: string) => `[prompts]\nfix = { file = "${file}" }\n`;

  it("are that branch's, whatever the pull request has there, and only those that are named", async () => {
    using own = makeRepository({
      files: {
        ".agent-mesh.toml": configuration(".agent-mesh/fix.md"),
        ".agent-mesh/fix.md": "of main\n",
        ".agent-mesh/other.md": "of main\n",
      },
      prFiles: { ".agent-mesh/fix.md": "of the pull request\n" },
    });
    const tree = await workspace.prepare(own, { trusted: true });
    expect(tree.base?.templates).toEqual({ ".agent-mesh/fix.md": "of main" });
    expect(textIn(tree, ".agent-mesh/fix.md")).toBe("of the pull request\n");
  });

  it("are none where there is a link, a folder or nothing", async () => {
    using own = makeRepository({
      files: { ".agent-mesh.toml": configuration("link.md"), "folder/a.md": "a" },
    });
    const work = own.git("rev-parse", "--show-toplevel");
    own.git("checkout", "--quiet", "main");
    symlinkSync("/etc/hostname", path.join(work, "link.md"));
    own.commit({}, { branch: "main" });
    const templatesOf = async () => (await workspace.prepare(own, { trusted: true })).base?.templates;
    expect(await templatesOf()).toEqual({ "link.md": null });
    for (const file of ["folder", "nowhere.md"]) {
      own.commit({ ".agent-mesh.toml": configuration(file) }, { branch: "main" });
      expect(await templatesOf()).toEqual({ [file]: null });
    }
  });

  it("fail the attempt for good where one is too large", async () => {
    using own = makeRepository({
      files: { ".agent-mesh.toml": configuration("fix.md"), "fix.md": "x".repeat(20_000) },
    });
    expect(await workspace.try(own, { trusted: true })).toEqual({
      ok: false,
      category: "setup",
      permanent: true,
      message: "the base branch: fix.md has 20000 bytes; 16384 are allowed",
    });
  });
});
