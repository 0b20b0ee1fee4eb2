// Checks of what keeps attempts apart from this machine and within their limits, by trying it as the supervisor does.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Environment } from "../../../shared/config/environment.ts";
import type { NetworkName } from "../../../shared/contracts/network.ts";
import type { Isolation } from "../../host-agent/guest/inside.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

export interface IsolationReading {
  isolation: Isolation;
  /** As the settings have it. */
  wanted: boolean;
  takesStrangers: boolean;
  /** What attempts can be given of the network, as the settings have it. */
  networks: readonly NetworkName[];
  /** What can be held by control groups. */
  limits: Record<"freezer" | "memory" | "processes" | "cpu", boolean>;
}

const INSTALL =
  "install bubblewrap (`apt install bubblewrap`) and start the host agent again (docs/isolation.md)";
const DELEGATE = "run it as root, or as a service with Delegate=yes (`mesh host install`)";

export function judgeIsolation(reading: IsolationReading): Finding[] {
  const { isolation, wanted, takesStrangers, limits } = reading;
  const missing = Object.entries(limits).flatMap(([name, there]) => (there ? [] : [name]));
  const sandbox = !wanted
    ? warn(
        "sandbox",
        "switched off: attempts see this machine",
        "unset MESH_HOST_SANDBOX, unless all work is your own",
      )
    : isolation === "sandbox"
      ? ok("sandbox", "works")
      : warn(
          "sandbox",
          `none; attempts have ${isolation === "namespaces" ? "namespaces" : "nothing"} of their own`,
          INSTALL,
        );
  return [
    takesStrangers && isolation !== "sandbox"
      ? fail(
          "sandbox",
          "none, and MESH_HOST_UNTRUSTED=1: the work of strangers is refused all the same",
          INSTALL,
        )
      : sandbox,
    judgeNetwork(reading),
    missing.length === 0
      ? ok("limits", "memory, processes and CPU time of attempts are held by control groups")
      : warn("limits", `nothing holds ${missing.join(", ")} of attempts`, DELEGATE),
  ];
}

function judgeNetwork({ isolation, networks, takesStrangers }: IsolationReading): Finding {
  if (networks.length === 0)
    return fail(
      "network",
      "MESH_HOST_NETWORK keeps attempts from this machine's, and they can have none of their own: no work is taken",
      INSTALL,
    );
  // Without a sandbox there is none either, and more to be said than that.
  if (networks.includes("none") || isolation !== "sandbox")
    return ok("network", `attempts can be given ${networks.join(", ")}`);
  const what = "attempts can be given this machine's alone: none can be kept to an allowlist";
  return takesStrangers
    ? fail("network", `${what}, and the work of strangers is refused`, INSTALL)
    : warn("network", what, INSTALL);
}

export async function readIsolation(environment: Environment, dataDir: string): Promise<IsolationReading> {
  const { findSandbox } = await import("../../host-agent/guest/sandbox.ts");
  const { networksGiven } = await import("../../host-agent/network/plan.ts");
  const { findCgroups, removeSupport } = await import("../../host-agent/guest/cgroup.ts");
  const wanted = environment.MESH_HOST_SANDBOX;
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-doctor-"));
  try {
    const hidden = wanted ? { dataDir, tools: environment.MESH_HOST_TOOLS } : null;
    const { isolation, ownNetwork } = findSandbox(folder, hidden);
    const cgroups = findCgroups(path.basename(folder));
    removeSupport(cgroups);
    const { freezer, memory, processes, cpu } = cgroups;
    return {
      isolation,
      wanted,
      takesStrangers: environment.MESH_HOST_UNTRUSTED,
      networks: networksGiven({ widest: environment.MESH_HOST_NETWORK }, ownNetwork),
      limits: {
        freezer: freezer !== null,
        memory: memory !== null,
        processes: processes !== null,
        cpu: cpu !== null,
      },
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
