// A connection's requests one after the other: whoever asks again before it has been answered is cut off. Node takes up
// as many as it is sent, and each would be a connection of the host's own.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

export function oneAtATime(answer: Listener): Listener {
  const latest = new WeakMap<Duplex, ServerResponse>();
  return (request, response) => {
    const { socket } = request;
    if (latest.get(socket)?.writableEnded === false) return void socket.destroy();
    latest.set(socket, response);
    answer(request, response);
  };
}
