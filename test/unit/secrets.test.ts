// A host's secrets: what their file may hold and what is said of a wrong one, which repositories get them, and which
// hosts a task that names one may go to.
import { describe, expect, it } from "vitest";
import { refusalOf } from "../../services/host-agent/held/admission.ts";
import { grantedBy, offeredBy, parseStore, type Store } from "../../services/host-agent/secrets/store.ts";
import { outlookOf } from "../../services/scheduler/explain.ts";
import { refusal } from "../../services/scheduler/feasible.ts";
import { StrictDeployRequest } from "../../shared/contracts/deploy-request.ts";
import { repositoryAt, wantedSecrets } from "../../shared/contracts/secret.ts";
import { capacity } from "../support/capacity.ts";
import { request } from "../support/facts.ts";
import { fleetOf, queued, situation } from "../support/placement.ts";

const VALUE = "npm_0123456789";
const SITE = "github.com/octo-org/website";

function store(entries: Record<string, unknown>): Store {
  const read = parseStore(JSON.stringify(entries));
  if (!read.ok) throw new Error(read.problem);
  return read.store;
}

const problemOf = (entries: unknown): string => {
  const read = parseStore(typeof entries === "string" ? entries : JSON.stringify(entries));
  return read.ok ? "none" : read.problem;
};

describe("a store of secrets", () => {
  it("has each value with the repositories it is granted to, as they are compared", () => {
    const repositories = ["GitHub.com/Octo-Org/Website.git", "github.com/octo-org/*", "/srv/git/Site"];
    expect(store({ NPM_TOKEN: { value: VALUE, repositories } })).toEqual({
      NPM_TOKEN: { value: VALUE, repositories: [SITE, "github.com/octo-org/*", "/srv/git/Site"] },
    });
  });

  it.each([
    [
      "too short to be told from words",
      { A: { value: "short", repositories: [] } },
      "A: value: expected 8 characters",
    ],
    ["of several lines", { A: { value: "12345678\n12345678", repositories: [] } }, "expected one line"],
    ["with a blank at its end", { A: { value: "12345678 ", repositories: [] } }, "expected one line"],
    ["not in ASCII", { A: { value: "pässword-1", repositories: [] } }, "printable ASCII"],
    ["too long", { A: { value: "x".repeat(5_000), repositories: [] } }, "4096 characters at most"],
    ["of no text", { A: { value: 12_345_678, repositories: [] } }, "A: value: expected a text"],
    ["without repositories", { A: { value: VALUE } }, "A: repositories"],
    [
      "for what is no repository",
      { A: { value: VALUE, repositories: ["website"] } },
      "expected a repository as host",
    ],
    ["for everything", { A: { value: VALUE, repositories: ["*"] } }, "expected a repository as host"],
    [
      "for a way out",
      { A: { value: VALUE, repositories: ["github.com/../x"] } },
      "expected a repository as host",
    ],
    [
      "of a variable that instances have",
      { PATH: { value: VALUE, repositories: [] } },
      "PATH: instances have",
    ],
    [
      "of a variable of the mesh",
      { MESH_TASK_ID: { value: VALUE, repositories: [] } },
      "MESH_TASK_ID: instances",
    ],
    ["that is a mere value", { A: VALUE }, 'A: expected { "NPM_TOKEN"'],
    ["in a list", [VALUE], 'expected { "NPM_TOKEN"'],
    ["in what is no JSON", `A = "${VALUE}"`, "expected JSON"],
    [
      "under a name that is none",
      { [`${VALUE}-x`]: { value: VALUE, repositories: [] } },
      "a secret's name: expected",
    ],
    ["with a field more", { A: { value: VALUE, repositories: [], [VALUE]: 1 } }, "A: expected nothing but"],
    [
      "granted to more than a heartbeat can tell",
      {
        A: {
          value: VALUE,
          repositories: Array.from({ length: 100 }, (_, at) => `${"h".repeat(280)}.com/a/${at}`),
        },
        B: {
          value: VALUE,
          repositories: Array.from({ length: 100 }, (_, at) => `${"h".repeat(280)}.com/b/${at}`),
        },
      },
      "32768 characters of repositories",
    ],
  ])("%s is refused, in words without any value", (_, entries, words) => {
    const problem = problemOf(entries);
    expect(problem).toContain(words);
    expect(problem).not.toContain(VALUE);
  });
});

describe("a clone URL names the repository that grants are for", () => {
  it.each([
    ["https://github.com/octo-org/website.git", SITE],
    ["https://me@GitHub.com/Octo-Org/Website", SITE],
    ["ssh://git@github.com/octo-org/website.git", SITE],
    ["git@github.com:octo-org/website.git", SITE],
    ["https://git.example:8443/a/b/", "git.example:8443/a/b"],
    ["file:///srv/git/Website.git", "/srv/git/Website.git"],
  ])("%s", (url, repository) => expect(repositoryAt(url)).toBe(repository));

  it.each([
    "http://github.com/octo-org/website",
    "git://github.com/octo-org/website",
    "https://github.com/octo-org/../evil/website",
    "https://github.com\\@evil.example/octo-org/website",
    "https://github.com/octo-org/website?x",
    "https://github.com/octo-org/%77ebsite",
    "https://evil.example#github.com/octo-org/website",
    "https://github.com/",
    "file:///srv/git/../website",
    "file:///srv/%67it",
  ])("%s proves nothing", (url) => expect(repositoryAt(url)).toBeNull());
});

describe("a task gets a secret", () => {
  const held = store({
    NPM_TOKEN: { value: VALUE, repositories: [SITE] },
    DEPLOY_KEY: { value: "deploy-0123456789", repositories: ["github.com/octo-org/*"] },
  });
  const granted = (names: string[], cloneUrl: string) => grantedBy(held, names, cloneUrl);

  it("where it is granted to what is cloned, by itself or among all of its owner's", () => {
    expect(granted(["NPM_TOKEN", "DEPLOY_KEY"], "https://github.com/octo-org/website.git")).toEqual({
      values: { NPM_TOKEN: VALUE, DEPLOY_KEY: "deploy-0123456789" },
      lacking: [],
    });
  });

  it("nowhere else", () => {
    const none = { values: {}, lacking: ["NPM_TOKEN"] };
    for (const url of [
      "https://github.com/octo-org/other",
      "https://evil.example/octo-org/website",
      "https://github.com/octo-org/website/deeper",
      "https://github.com/octo-org/website-2",
      "http://github.com/octo-org/website",
    ])
      expect(granted(["NPM_TOKEN"], url)).toEqual(none);
    expect(granted(["DEPLOY_KEY"], "https://github.com/octo-org-2/website").lacking).toEqual(["DEPLOY_KEY"]);
    expect(granted(["constructor"], "https://github.com/octo-org/website").lacking).toEqual(["constructor"]);
  });

  it("on a host that says it has it for that repository", () => {
    const secrets = wantedSecrets({
      secrets: ["NPM_TOKEN"],
      cloneUrl: "git@github.com:octo-org/website.git",
    });
    const fleet = fleetOf({
      has: { secrets: offeredBy(held) },
      lacks: {},
      other: { secrets: [{ name: "NPM_TOKEN", repositories: ["github.com/a/b"] }] },
    });
    const task = queued({ secrets });
    const refusals = fleet.regard(task, 0).map((host) => [host.id, refusal(task, host, situation())]);
    expect(Object.fromEntries(refusals)).toEqual({ has: null, lacks: "secrets", other: "secrets" });
  });

  it("or waits, and its explanation says for what", () => {
    const secrets = wantedSecrets({
      secrets: ["NPM_TOKEN"],
      cloneUrl: "https://github.com/octo-org/website",
    });
    const outlook = outlookOf(queued({ secrets }), fleetOf({ h1: {}, h2: {} }), situation(), {
      ahead: 0,
      heldUp: null,
      at: new Date(0),
    });
    expect(outlook.receipt.summary).toBe("2 hosts: 2 have no NPM_TOKEN for this repository");
    expect(outlook.wouldRun).toBe(`would run if a host had NPM_TOKEN for ${SITE} (mesh host secret set)`);
  });

  it("never where its pull request comes from a fork, whose task waits for none", () => {
    const asked = { secrets: ["NPM_TOKEN"], cloneUrl: "https://github.com/octo-org/website" };
    expect(wantedSecrets({ ...asked, fork: true })).toBeNull();
    const order = (overrides: object) => ({
      taskId: "t1",
      attempt: 1,
      after: 1,
      request: request({ ...asked, ...overrides }),
    });
    expect(refusalOf(order({ fork: true }), capacity({ takesStrangers: true }), [])).toBeNull();
    expect(refusalOf(order({}), capacity(), [])).toMatchObject({
      reason: "policy",
      message: "this host has no NPM_TOKEN for this repository",
    });
    expect(refusalOf(order({}), capacity({ secrets: offeredBy(held) }), [])).toBeNull();
  });
});

it("a request that gives a variable and names it as a secret is refused", () => {
  const { taskId: _, ...asked } = {
    taskId: "",
    ...request({ run: { command: "true", env: { A: "1" } }, secrets: ["A"] }),
  };
  expect(StrictDeployRequest.safeParse(asked).error?.issues[0]?.message).toBe(
    "A is in run.env and in secrets: expected one of them",
  );
  expect(StrictDeployRequest.safeParse({ ...asked, secrets: ["no-name"] }).success).toBe(false);
});
