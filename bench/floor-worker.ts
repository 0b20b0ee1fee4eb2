// The other end of the floor: takes a message from a stream, answers by a plain message that it begins, and puts
// onto the stream that it is done. One hop, and nothing of the mesh.
import { jetstream } from "@nats-io/jetstream";
import { connect } from "nats";
import { connectionTarget } from "../shared/bus/connect.ts";

const connection = await connect(connectionTarget(process.env.NATS_URL ?? ""));
const js = jetstream(connection);
const consumer = await js.consumers.get("FLOOR", { filter_subjects: "floor.request.*" });
await consumer.consume({
  max_messages: 1_000,
  callback: (message) => {
    const id = message.subject.split(".").at(-1);
    connection.publish(`floor.reply.${id}`);
    void js.publish(`floor.done.${id}`, "{}");
  },
});
connection.publish("floor.ready");
