// What an instance may reach: who says so, and which addresses nobody is led to.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isOnInternet } from "../../services/host-agent/network/address.ts";
import { inWords, isOn, networkOf, networksGiven } from "../../services/host-agent/network/plan.ts";
import { Refusals } from "../../services/host-agent/network/refusals.ts";
import {
  type AllowedHost,
  AllowedHosts,
  NETWORKS,
  OwnersHosts,
  parseAllowedHost,
} from "../../shared/contracts/network.ts";

const list = (...texts: string[]): AllowedHost[] =>
  texts.map((text) => parseAllowedHost(text) ?? expect.fail(`${text} is no host`));

describe("a place that may be reached", () => {
  it.each<[string, [string, number][], [string, number][]]>([
    [
      "example.com",
      [
        ["example.com", 443],
        ["EXAMPLE.com.", 443],
      ],
      [
        ["example.com", 80],
        ["a.example.com", 443],
        ["notexample.com", 443],
      ],
    ],
    ["example.com:8443", [["example.com", 8_443]], [["example.com", 443]]],
    [
      "*.example.com",
      [
        ["a.example.com", 443],
        ["a.b.example.com", 443],
      ],
      [
        ["example.com", 443],
        ["aexample.com", 443],
      ],
    ],
    [
      "10.1.2.3:8081",
      [["10.1.2.3", 8_081]],
      [
        ["10.1.2.3", 443],
        ["10.1.2.30", 8_081],
      ],
    ],
    ["[fd00::1]", [["fd00::1", 443]], [["fd00::2", 443]]],
  ])("%s", (text, reached, refused) => {
    for (const [host, port] of reached) expect(isOn(list(text), host, port), `${host}:${port}`).toBe(true);
    for (const [host, port] of refused) expect(isOn(list(text), host, port), `${host}:${port}`).toBe(false);
    expect(parseAllowedHost(inWords(list(text)[0] ?? expect.fail()))).toEqual(list(text)[0]);
  });

  it.each([
    "",
    "*",
    "*.",
    "a b",
    "https://example.com",
    "example.com/path",
    "example.com:0",
    "example.com:70000",
    ".com",
    "a..b",
    "-a.com",
    "*.*.com",
  ])("is not %j", (text) => expect(parseAllowedHost(text)).toBeNull());

  it("is by its address for a host's owner alone to say, and what is wrong is told", () => {
    expect(OwnersHosts.safeParse("example.com, 10.0.0.1:80,").data).toHaveLength(2);
    expect(OwnersHosts.safeParse("example.com,https://x").error?.message).toContain("expected hosts such as");
    expect(AllowedHosts.safeParse(["example.com"]).success).toBe(true);
    expect(AllowedHosts.safeParse(["10.0.0.1"]).error?.message).toContain("a host's owner");
  });
});

describe("the network of an attempt", () => {
  const owners = list("packages.example.com");
  const repositorys = list("mirror.example.net");
  const reaches = (plan: ReturnType<typeof networkOf>, host: string) =>
    plan.mode === "allowlist" && plan.lists.every((one) => isOn(one, host, 443));

  it.each<[string, Parameters<typeof networkOf>, string, boolean, boolean]>([
    [
      "is the machine's where nobody says otherwise",
      [{}, {}, { widest: "open", allowed: [] }],
      "open",
      false,
      false,
    ],
    [
      "is what the base branch says, where the owner allows everything",
      [{}, { mode: "allowlist", allow: repositorys }, { widest: "open", allowed: owners }],
      "allowlist",
      false,
      true,
    ],
    [
      "is the base branch's list where that names hosts and no mode",
      [{}, { allow: repositorys }, { widest: "open", allowed: [] }],
      "allowlist",
      false,
      true,
    ],
    [
      "is the owner's list, where the base branch says nothing",
      [{}, {}, { widest: "allowlist", allowed: owners }],
      "allowlist",
      true,
      false,
    ],
    [
      "is what both allow, where both say something",
      [
        {},
        { mode: "allowlist", allow: repositorys },
        { widest: "allowlist", allowed: [...owners, ...repositorys] },
      ],
      "allowlist",
      false,
      true,
    ],
    [
      "is not widened by the base branch",
      [{}, { mode: "open", allow: repositorys }, { widest: "allowlist", allowed: owners }],
      "allowlist",
      true,
      false,
    ],
    [
      "is the owner's list alone for a fork, whatever the base branch allows",
      [{ fork: true }, { mode: "allowlist", allow: repositorys }, { widest: "open", allowed: owners }],
      "allowlist",
      true,
      false,
    ],
    [
      "is none for a fork too, where the base branch says so",
      [{ fork: true }, { mode: "none" }, { widest: "open", allowed: owners }],
      "none",
      false,
      false,
    ],
    [
      "is none where the owner says so",
      [{}, { mode: "open" }, { widest: "none", allowed: owners }],
      "none",
      false,
      false,
    ],
  ])("%s", (_, [request, repository, owner], mode, owners_, repositorys_) => {
    const plan = networkOf(request, repository, owner);
    expect(plan.mode).toBe(mode);
    expect(reaches(plan, "packages.example.com")).toBe(owners_);
    expect(reaches(plan, "mirror.example.net")).toBe(repositorys_);
    expect(plan.note === null).toBe(mode === "open");
  });

  it("is never wider than the owner has it, and never open to a stranger", () => {
    const network = fc.constantFrom(...NETWORKS);
    fc.assert(
      fc.property(network, fc.option(network, { nil: undefined }), fc.boolean(), (widest, mode, fork) => {
        const plan = networkOf({ fork }, { mode }, { widest, allowed: [] });
        expect(NETWORKS.indexOf(plan.mode)).toBeGreaterThanOrEqual(NETWORKS.indexOf(widest));
        expect(fork && plan.mode === "open").toBe(false);
      }),
    );
  });

  it("can be given as far as the machine can keep it apart", () => {
    expect(networksGiven({ widest: "open" }, true)).toEqual(["open", "allowlist", "none"]);
    expect(networksGiven({ widest: "allowlist" }, true)).toEqual(["allowlist", "none"]);
    expect(networksGiven({ widest: "open" }, false)).toEqual(["open"]);
    expect(networksGiven({ widest: "allowlist" }, false)).toEqual([]);
  });
});

it.each([
  [true, ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]],
  [
    false,
    [
      "127.0.0.1",
      "127.9.9.9",
      "10.0.0.1",
      "172.16.0.1",
      "192.168.1.1",
      "169.254.169.254",
      "100.64.0.1",
      "0.0.0.0",
      "224.0.0.1",
      "255.255.255.255",
      "::1",
      "::",
      "fe80::1",
      "fd00::1",
      "::ffff:127.0.0.1",
      "::ffff:8.8.8.8",
      "64:ff9b::7f00:1",
      "2002:7f00:1::",
      "ff02::1",
      "localhost",
      "",
    ],
  ],
])("an address of the internet: %s", (expected, addresses) => {
  for (const address of addresses) expect(isOnInternet(address), address).toBe(expected);
});

it("what is refused often is told a few times, and then counted", () => {
  const told: string[] = [];
  const refusals = new Refusals((words) => told.push(words));
  for (let n = 0; n < 10; n++) refusals.add("a.example:443", "it is not allowed");
  for (let n = 0; n < 100; n++) refusals.add(`${n}.example:443`, "it is not allowed");
  refusals.end();
  refusals.end();
  expect(told.length).toBeLessThan(60);
  expect(told.filter((words) => words.includes(" a.example:443 "))).toHaveLength(3);
  expect(told.at(-1)).toMatch(/refused 58 times more/);
});
