// Checks of the secrets that this machine has for tasks: whether a host agent would begin with their file, and whether
// anything here keeps them apart. It must never show a value.
import type { Environment } from "../../../shared/config/environment.ts";
import type { Isolation } from "../../host-agent/guest/inside.ts";
import type { ReadStore } from "../../host-agent/secrets/store.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

/** `isolation`: null where it cannot be looked at from here. */
export function judgeSecrets(read: ReadStore, isolation: Isolation | null): Finding[] {
  if (!read.ok)
    return [fail("secrets", read.problem, "put that right: no host agent begins with it (docs/secrets.md)")];
  const secrets = Object.entries(read.store);
  if (secrets.length === 0) return [ok("secrets", "none")];
  const idle = secrets.filter(([, { repositories }]) => repositories.length === 0).map(([name]) => name);
  return [
    isolation === null || isolation === "sandbox"
      ? ok("secrets", secrets.map(([name]) => name).join(", "))
      : warn(
          "secrets",
          "without a sandbox whatever runs here could read all of them",
          "install bubblewrap, or keep none here (docs/secrets.md)",
        ),
    ...(idle.length === 0
      ? []
      : [
          warn(
            "grants",
            `no repository may have ${idle.join(", ")}`,
            "mesh host secret grant NAME host/owner/name",
          ),
        ]),
  ];
}

/** As the user of this call, which may not be that of the host agent. */
export async function readSecrets(environment: Environment, dataDir: string): Promise<ReadStore> {
  const { readStore, storeFileIn } = await import("../../host-agent/secrets/store-file.ts");
  const named = environment.MESH_HOST_SECRETS;
  return readStore(named ?? storeFileIn(dataDir), { mayLack: named === undefined });
}
