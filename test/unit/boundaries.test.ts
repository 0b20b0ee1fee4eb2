// The rules of who may import whom, read from the imports themselves.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "../..");

interface Import {
  from: string;
  /** A path inside the project, or a package's name. */
  of: string;
}

const imports: Import[] = ["services", "shared"].flatMap((folder) =>
  readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => importsOf(path.join(folder, file))),
);

function importsOf(from: string): Import[] {
  const text = readFileSync(path.join(ROOT, from), "utf8");
  const found = text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g);
  return [...found].map(([, name = ""]) => ({
    from: from.split(path.sep).join("/"),
    of: name.startsWith(".") ? path.posix.join(path.posix.dirname(from), name) : name,
  }));
}

const among = (folder: string) => imports.filter(({ from }) => from.startsWith(`${folder}/`));
const isPackage = ({ of }: Import) => !of.startsWith("shared/") && !of.startsWith("services/");

describe("imports", () => {
  it("are found at all", () => {
    expect(imports.length).toBeGreaterThan(100);
  });

  it("of contracts and lifecycle are zod and one another only", () => {
    const others = [...among("shared/contracts"), ...among("shared/lifecycle")].filter(
      ({ of }) => of !== "zod" && !of.startsWith("shared/contracts/") && !of.startsWith("shared/lifecycle/"),
    );
    expect(others).toEqual([]);
  });

  it("of the NATS client are in shared/bus only", () => {
    const clients = imports.filter(({ of }) => of === "nats" || of.startsWith("@nats-io/"));
    expect(clients.length).toBeGreaterThan(0);
    expect(clients.filter(({ from }) => !from.startsWith("shared/bus/"))).toEqual([]);
  });

  it("never go from shared to a service, nor from one service to another (the CLI starts them all, the simulator runs their decisions)", () => {
    const service = (file: string) => /^services\/([^/]+)\//.exec(file)?.[1];
    const crossing = imports.filter(({ from, of }) => {
      const [mine, theirs] = [service(from), service(of)];
      return theirs !== undefined && mine !== "cli" && mine !== "simulator" && mine !== theirs;
    });
    expect(crossing).toEqual([]);
  });

  it("of the simulator reach into what decides in other services, which is pure, and nowhere else", () => {
    const decides =
      /^services\/(host-agent\/held\/admission|scheduler\/(dispatch|fleet|queue|queue-index))\.ts$/;
    const outside = among("services/simulator").filter(
      ({ of }) =>
        of.startsWith("shared/bus/") ||
        (of.startsWith("services/") && !of.startsWith("services/simulator/") && !decides.test(of)),
    );
    expect(among("services/simulator").length).toBeGreaterThan(0);
    expect(outside).toEqual([]);
  });

  it("of the CLI reach into another service by its `main.ts` only, and into the simulator, which is its own", () => {
    const inside = among("services/cli").filter(
      ({ from, of }) =>
        of.startsWith("services/") &&
        !/^services\/(cli|simulator)\//.test(of) &&
        !of.endsWith("/main.ts") &&
        // What looks after this machine's own host knows how that one works.
        !(/^services\/cli\/(doctor|host)\//.test(from) && of.startsWith("services/host-agent/")),
    );
    expect(inside).toEqual([]);
  });

  it("of what runs in the guest are node's own and its neighbours: it is copied there alone", () => {
    const foreign = among("services/host-agent/guest").filter(
      (one) =>
        !one.of.startsWith("node:") &&
        (isPackage(one) || !one.of.startsWith("services/host-agent/guest/")) &&
        // Beside the supervisor, and none of its own.
        !(one.from.endsWith("/guest/main.ts") && one.of.startsWith("services/host-agent/workspace/")),
    );
    expect(among("services/host-agent/guest").length).toBeGreaterThan(0);
    expect(foreign).toEqual([]);
  });
});
