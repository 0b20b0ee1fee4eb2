// The bus itself, for verbs that look after the log rather than ask the services: found as the mesh is, and where only
// a gateway is named, beside it.
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";

export interface BusAddress {
  url: string;
  /** What named it, for messages. */
  from: string;
  /** Folder of the `mesh up` that runs it; null when it is somebody else's. */
  dataDir: string | null;
}

export async function findBus(url: string | undefined, env = process.env): Promise<Answer<BusAddress>> {
  const { defaultDataDir } = await import("../../shared/config/environment.ts");
  const { findMesh } = await import("../../shared/client/find-mesh.ts");
  const { readMeshFile } = await import("../../shared/client/mesh-file.ts");
  const found = await findMesh({ url, env });
  if (!found.ok) return found;
  const { kind, from } = found.value;
  const dataDir = env.MESH_DATA_DIR || defaultDataDir(env);
  const running = await readMeshFile(dataDir);
  const own = running !== null && [running.natsUrl, running.httpUrl].includes(found.value.url);
  if (own) return answer({ url: running.natsUrl, from, dataDir });
  if (kind === "nats") return answer({ url: found.value.url, from, dataDir: null });
  if (env.NATS_URL && url === undefined)
    return answer({ url: env.NATS_URL, from: "NATS_URL", dataDir: null });
  return refuse(
    "bad_request",
    `${from} names a gateway, and this is done on the bus: name it by NATS_URL, or --url nats://…`,
  );
}
