// A process of its own that launches a nats-server, says which process that is, and waits to be killed. It must never end it.
import { type LaunchOptions, launchNatsServer } from "../../shared/nats-server/launch.ts";

const [program = "", dataDir = ""] = process.argv.slice(2);
const options: LaunchOptions = { program, dataDir, port: 0, syncInterval: "2m" };
const { pid } = await launchNatsServer(options);
process.stdout.write(`${JSON.stringify({ pid })}\n`);
