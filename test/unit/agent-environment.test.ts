// What agents are given of their host's environment: no path that means nothing where they run.
import { expect, it } from "vitest";
import { environmentOfAgents } from "../../services/host-agent/runner/here.ts";

it.each([
  ["C:\\certs\\corporate.pem", ["NODE_EXTRA_CA_CERTS"]],
  ["d:/certs/corporate.pem", ["NODE_EXTRA_CA_CERTS"]],
  ["\\\\server\\share\\corporate.pem", ["NODE_EXTRA_CA_CERTS"]],
  ["/etc/ssl/certs/ca-certificates.crt", []],
])("an authority's file %s is withheld from agents if it is a path of Windows: %j", (file, withheld) => {
  const host = { NODE_EXTRA_CA_CERTS: file, SSL_CERT_FILE: "/etc/ca.pem", HTTPS_PROXY: "http://proxy:1" };
  const given = environmentOfAgents(host);
  expect(given.withheld).toEqual(withheld);
  const expected = withheld.length === 0 ? host : { ...host, NODE_EXTRA_CA_CERTS: undefined };
  expect(given.passed).toEqual(expected);
});
