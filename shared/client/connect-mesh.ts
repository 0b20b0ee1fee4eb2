// Finds the mesh and connects to it, over whatever its address says. Only what that takes is loaded.
import { type Answer, answer, refuse } from "../contracts/failure.ts";
import { type FindOptions, findMesh } from "./find-mesh.ts";
import type { MeshClient } from "./mesh-client.ts";

/** `name` is how the connection is called in the server's list. */
export async function connectMesh(
  options: FindOptions & { name?: string } = {},
): Promise<Answer<MeshClient>> {
  const found = await findMesh(options);
  if (!found.ok) return found;
  const { kind, url, from } = found.value;
  if (kind === "http") return answer((await import("./http-client.ts")).httpClient(url));
  const { connectNatsClient } = await import("./nats-client.ts");
  const { BusError } = await import("../bus/connect.ts");
  try {
    const caFile = (options.env ?? process.env).NATS_CA_FILE || undefined;
    return answer(await connectNatsClient({ url, name: options.name ?? "mesh-client", caFile }));
  } catch (error) {
    if (error instanceof BusError) return refuse("unavailable", `${error.message} (named by ${from})`);
    throw error;
  }
}
