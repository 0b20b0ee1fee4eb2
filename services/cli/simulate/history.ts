// The history of a running mesh, from the log on its bus, for `mesh simulate`. It only reads.
import { askApi } from "../../../shared/bus/ask.ts";
import { BusError, connectBus } from "../../../shared/bus/connect.ts";
import { followTasks } from "../../../shared/bus/follow.ts";
import { findMesh } from "../../../shared/client/find-mesh.ts";
import { History } from "../../simulator/history.ts";
import type { Workload } from "../../simulator/workload.ts";
import { Failure, refused, UsageError, valueOf } from "../outcome.ts";

const HOSTS_MS = 5_000;

export async function readHistory(url: string | undefined): Promise<{ workload: Workload; hosts: unknown }> {
  const found = await findMesh({ url });
  if (!found.ok) throw refused(found.error);
  const { kind, from } = found.value;
  if (kind === "http")
    throw new UsageError(
      `--history is read from the bus: expected nats://… or tls://… by --url or NATS_URL, not ${from}'s ${found.value.url}`,
    );
  try {
    const caFile = process.env.NATS_CA_FILE || undefined;
    await using bus = await connectBus({ url: found.value.url, name: "mesh-cli", caFile });
    const history = new History();
    await using tasks = await followTasks(bus, (folded) => history.apply(folded));
    await tasks.caughtUp;
    const hosts = valueOf(await askApi(bus, "hosts", {}, HOSTS_MS));
    return { workload: history.workload(), hosts };
  } catch (error) {
    if (error instanceof BusError) throw new Failure(`${error.message} (named by ${from})`);
    throw error;
  }
}
