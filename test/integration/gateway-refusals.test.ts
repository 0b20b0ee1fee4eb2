// What the gateway refuses as HTTP: bodies, paths, methods, large bodies, foreign pages. What is wrong with a request
// whatever it comes over is in bad-input.test.ts.
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  deployRequest,
  type GatewayMesh,
  postJson,
  problemOf,
  startGatewayMesh,
} from "../support/gateway.ts";

let mesh: GatewayMesh;
beforeAll(async () => {
  mesh = await startGatewayMesh();
});
afterAll(() => mesh[Symbol.asyncDispose]());

const tasks = () => `${mesh.url}/v1/tasks`;

describe("a request that is wrong", () => {
  it.each<[string | Uint8Array<ArrayBuffer>, string]>([
    ["", "expected object"],
    [new Uint8Array([0x22, 0xff, 0x22]), "it is not UTF-8"],
  ])("is answered with what is wrong (%#): $1", async (body, words) => {
    const headers = { "content-type": "application/json" };
    const response = await fetch(tasks(), { method: "POST", headers, body });
    expect(response.status).toBe(400);
    const problem = await problemOf(response);
    expect(problem.code).toBe("bad_request");
    expect(problem.detail).toContain(words);
  });

  it.each([
    ["GET", "/v1/tasks/..%2f..%2fetc%2fpasswd", 400],
    ["GET", "/v1/tasks/%2e%2e", 404],
    ["GET", "/v1/tasks/%zz", 400],
    ["GET", "/v1/tasks/no-such-task/events", 404],
    ["GET", "/v1/tasks/no-such-task/logs", 404],
    ["GET", "/v1/tasks/a.b/events", 400],
    ["GET", "/v1/tasks/*/logs", 400],
    ["GET", "/v1/tasks/no-such-task/artifacts/patch", 404],
    ["GET", "/v1/nothing", 404],
    ["GET", "/", 404],
  ])("%s %s is %i", async (method, path, status) => {
    const response = await fetch(mesh.url + path, { method });
    expect(response.status).toBe(status);
    await problemOf(response);
    expect(response.headers.get("x-request-id")).toMatch(/^[\w-]{36}$/);
  });

  it.each([
    ["DELETE", "/v1/tasks/no-such-task", "GET, HEAD"],
    ["PUT", "/v1/tasks", "POST, GET, HEAD"],
    ["OPTIONS", "/v1/tasks", "POST, GET, HEAD"],
    ["GET", "/webhooks/github", "POST"],
  ])("%s %s is 405 and says what is allowed", async (method, path, allowed) => {
    const response = await fetch(mesh.url + path, { method });
    expect((await problemOf(response)).status).toBe(405);
    expect(response.headers.get("allow")).toBe(allowed);
  });

  it("of another content type is refused, as a page's form would send it", async () => {
    const form = await fetch(tasks(), {
      method: "POST",
      headers: { "content-type": "text/plain" },
      body: JSON.stringify(deployRequest()),
    });
    expect(form.status).toBe(415);
    expect((await problemOf(form)).code).toBe("unsupported");
  });

  it("carries the request id it came with", async () => {
    const response = await fetch(`${mesh.url}/livez`, { headers: { "x-request-id": "abc.1" } });
    expect(response.headers.get("x-request-id")).toBe("abc.1");
  });
});

/** What the server says on a plain connection, up to the end of its headers. */
function rawStatus(lines: string[], body = ""): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect(mesh.port, "127.0.0.1");
  let text = "";
  socket.on("data", (data) => {
    text += data.toString();
    if (!text.includes("\r\n\r\n")) return;
    resolve(text.split("\r\n")[0] ?? "");
    socket.destroy();
  });
  socket.on("error", reject);
  socket.write(`${lines.join("\r\n")}\r\n\r\n${body}`);
  return promise;
}

describe("a body that is too large", () => {
  it("is refused: 5 MB in one request", async () => {
    const response = await postJson(tasks(), deployRequest({ branch: "x".repeat(5_000_000) }));
    expect(response.status).toBe(413);
    expect((await problemOf(response)).code).toBe("too_large");
  });

  it("is refused by what it claims, before it is there", async () => {
    const head = [
      "POST /v1/tasks HTTP/1.1",
      `Host: 127.0.0.1:${mesh.port}`,
      "Content-Type: application/json",
    ];
    expect(await rawStatus([...head, "Content-Length: 5000000"])).toContain("413");
  });

  it("is refused by what it is, before it ends", async () => {
    const head = [
      "POST /v1/tasks HTTP/1.1",
      `Host: 127.0.0.1:${mesh.port}`,
      "Content-Type: application/json",
    ];
    const chunk = `${(1_500_000).toString(16)}\r\n${" ".repeat(1_500_000)}\r\n`;
    expect(await rawStatus([...head, "Transfer-Encoding: chunked"], chunk)).toContain("413");
  });
});

describe("a web page", () => {
  it.each([["Host: evil.example"], ["Host: evil.example:7400"], ["Host: 127.0.0.1"]])(
    "that has itself rebound to this machine is refused: %s",
    async (host) => {
      expect(await rawStatus(["GET /v1/tasks HTTP/1.1", host])).toContain("403");
    },
  );

  it("of another origin starts no task and reads nothing", async () => {
    for (const headers of [
      { origin: "http://evil.example" },
      { origin: "null" },
      { "sec-fetch-site": "cross-site" },
    ] as Record<string, string>[]) {
      const started = await postJson(tasks(), deployRequest({ taskId: "from-a-page" }), headers);
      expect(started.status).toBe(403);
      expect((await fetch(`${mesh.url}/v1/hosts`, { headers })).status).toBe(403);
    }
    expect((await fetch(`${tasks()}/from-a-page`)).status).toBe(404);
  });

  it("of the gateway itself is let in", async () => {
    const headers = { origin: mesh.url, "sec-fetch-site": "same-origin" };
    expect((await fetch(`${mesh.url}/v1/hosts`, { headers })).status).toBe(200);
  });
});
