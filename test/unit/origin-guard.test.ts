// Who may speak to a gateway without accounts.
import { expect, it } from "vitest";
import { originProblem, type Provenance } from "../../services/gateway/origin-guard.ts";

const request = (overrides: Partial<Provenance> = {}): Provenance => ({
  host: "127.0.0.1:7400",
  origin: undefined,
  fetchSite: undefined,
  ...overrides,
});

it.each([
  request(),
  request({ host: "localhost:7400" }),
  request({ host: "LOCALHOST:7400" }),
  request({ host: "[::1]:7400" }),
  request({ origin: "http://localhost:7400", fetchSite: "same-origin" }),
  request({ fetchSite: "none" }),
])("lets in what comes from this machine: %j", (provenance) => {
  expect(originProblem(provenance, 7400)).toBeNull();
});

it.each([
  request({ host: undefined }),
  request({ host: "" }),
  request({ host: "evil.example:7400" }),
  request({ host: "127.0.0.1" }),
  request({ host: "127.0.0.1:80" }),
  request({ host: "localhost.:7400" }),
  request({ host: "localhost.evil.example:7400" }),
  request({ host: "127.0.0.1.nip.io:7400" }),
  request({ host: "user@127.0.0.1:7400" }),
  request({ host: "0.0.0.0:7400" }),
  request({ origin: "null" }),
  request({ origin: "" }),
  request({ origin: "http://evil.example" }),
  request({ origin: "http://localhost:3000" }),
  request({ origin: "https://localhost:7400" }),
  request({ origin: "http://localhost:7400.evil.example" }),
  request({ fetchSite: "cross-site" }),
  request({ fetchSite: "same-site" }),
])("refuses what a foreign page or a rebound name sends: %j", (provenance) => {
  expect(originProblem(provenance, 7400)).toMatch(/^(the Host|the Origin|Sec-Fetch-Site)/);
});

it("knows that a browser leaves out port 80", () => {
  expect(originProblem(request({ host: "localhost", origin: "http://localhost" }), 80)).toBeNull();
});
