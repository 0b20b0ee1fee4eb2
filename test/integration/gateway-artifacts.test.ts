// Downloads of what attempts left behind: whole and right, or not at all.
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GatewayMesh, leaveBehind, problemOf, startGatewayMesh } from "../support/gateway.ts";

let mesh: GatewayMesh;
beforeAll(async () => {
  mesh = await startGatewayMesh();
});
afterAll(() => mesh[Symbol.asyncDispose]());

async function urlOf(...left: [string, Buffer, ((chunks: Buffer[]) => Buffer[])?]): Promise<string> {
  const [taskId] = left;
  await leaveBehind(mesh.bus, ...left);
  await expect
    .poll(async () => (await fetch(`${mesh.url}/v1/tasks/${taskId}`)).json())
    .toMatchObject({ state: "succeeded" });
  return `${mesh.url}/v1/tasks/${taskId}/artifacts/patch`;
}

const large = Buffer.alloc(1_500_000, "agent-mesh ");
const flipped = (chunk: Buffer): Buffer =>
  Buffer.from(chunk.map((byte, index) => (index === 7 ? byte ^ 1 : byte)));

describe("an artifact", () => {
  it("comes whole, with its digest as ETag", async () => {
    const url = await urlOf("whole", large);
    const response = await fetch(url);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
    expect(response.headers.get("content-length")).toBe(String(large.length));
    expect(Buffer.from(await response.arrayBuffer()).equals(large)).toBe(true);
    const etag = response.headers.get("etag") ?? "";
    expect(etag).toBe(`"${createHash("sha256").update(large).digest("hex")}"`);
    expect((await fetch(url, { headers: { "if-none-match": etag } })).status).toBe(304);
    expect((await fetch(url.replace("patch", "other"))).status).toBe(404);
  });

  it("that is empty comes empty", async () => {
    const response = await fetch(await urlOf("empty", Buffer.alloc(0)));
    expect([response.status, await response.text()]).toStrictEqual([200, ""]);
  });

  it("with a tampered chunk never comes to its end", async () => {
    const tampered = await urlOf("tampered", large, ([first = Buffer.alloc(0), second = first, ...rest]) => [
      first,
      flipped(second),
      ...rest,
    ]);
    const response = await fetch(tampered);
    await expect(response.arrayBuffer()).rejects.toThrow("terminated");
  });

  it("with a chunk missing, or one too many, never comes to its end", async () => {
    for (const [taskId, kept] of [
      ["short", (chunks: Buffer[]) => chunks.slice(0, -1)],
      ["twice", ([first = Buffer.alloc(0), ...rest]: Buffer[]) => [first, first, ...rest]],
    ] as const)
      await expect((await fetch(await urlOf(taskId, large, kept))).arrayBuffer()).rejects.toThrow(
        "terminated",
      );
  });

  it("that is small is refused in words: tampered with, or no longer kept", async () => {
    const small = Buffer.from("a small patch");
    const tampered = await fetch(await urlOf("small", small, (chunks) => chunks.map(flipped)));
    expect(tampered.status).toBe(500);
    expect((await problemOf(tampered)).detail).toContain("is not what its manifest says");
    const gone = await fetch(await urlOf("gone", small, () => []));
    expect(gone.status).toBe(404);
    expect((await problemOf(gone)).detail).toContain("no longer kept");
  });
});
