// The other end of the floor: takes a message from a stream, answers by a plain message. Nothing of the mesh.
import { jetstream } from "@nats-io/jetstream";
import { connect } from "nats";
import { connectionTarget } from "../shared/bus/connect.ts";

const connection = await connect(connectionTarget(process.env.NATS_URL ?? ""));
const consumer = await jetstream(connection).consumers.get("FLOOR");
await consumer.consume({
  max_messages: 1_000,
  callback: (message) => connection.publish(`floor.reply.${message.subject.split(".").at(-1)}`),
});
connection.publish("floor.ready");
