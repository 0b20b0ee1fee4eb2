// Where is the mesh? `--url`, then MESH_URL, then NATS_URL, then the mesh that runs on the data folder. It must never
// guess further, and says what to do when there is nothing.
import { defaultDataDir } from "../config/environment.ts";
import { type Answer, answer, refuse } from "../contracts/failure.ts";
import { readMeshFile } from "./mesh-file.ts";

export interface MeshAddress {
  kind: "http" | "nats";
  url: string;
  /** What named it, for messages. */
  from: string;
}

export interface FindOptions {
  /** As somebody gave it on a command line. */
  url?: string | undefined;
  env?: NodeJS.ProcessEnv;
}

/** `bad_request`: an address that cannot be one. `unavailable`: none is named, and no mesh runs here. */
export async function findMesh({ url, env = process.env }: FindOptions = {}): Promise<Answer<MeshAddress>> {
  if (url !== undefined) return addressOf(url, "--url");
  if (env.MESH_URL) return addressOf(env.MESH_URL, "MESH_URL");
  if (env.NATS_URL) return addressOf(env.NATS_URL, "NATS_URL");
  const dataDir = env.MESH_DATA_DIR || defaultDataDir(env);
  const running = await readMeshFile(dataDir);
  if (running !== null) return addressOf(running.natsUrl, `the mesh on ${dataDir}`);
  return refuse(
    "unavailable",
    `no mesh runs on ${dataDir}: start one with \`mesh up\`, or name one by --url, MESH_URL or NATS_URL`,
  );
}

function addressOf(url: string, from: string): Answer<MeshAddress> {
  const scheme = /^(https?|nats|tls):\/\/[^/\s]/.exec(url)?.[1];
  if (scheme === undefined)
    return refuse("bad_request", `${from}: expected http://…, https://…, nats://… or tls://…`);
  return answer({ kind: scheme.startsWith("http") ? "http" : "nats", url, from });
}
