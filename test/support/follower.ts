// A process of its own that follows the task log and prints the sequence of each fact, as a service would. It must end
// by itself only when it can follow no longer.
import { connectBus } from "../../shared/bus/connect.ts";
import { followTasks } from "../../shared/bus/follow.ts";

const [url = "", tripsOn = ""] = process.argv.slice(2);
const bus = await connectBus({ url, name: "follower" });
await followTasks(bus, ({ fact }) => {
  process.stdout.write(`${fact.sequence}\n`);
  if (fact.taskId === tripsOn) throw new Error(`tripped on ${tripsOn}`);
});
