// When the certificate of the bus ends: NATS begins in plain text and asks for TLS then, so it is done as a client does.
import { connect as connectPlain } from "node:net";
import { connect as connectTls } from "node:tls";

const ANSWER_MS = 3_000;

/** Null when that cannot be seen. */
export async function certificateEnd(url: string): Promise<Date | null> {
  const { hostname, port } = new URL(url.split(",")[0] ?? "");
  const host = hostname.replaceAll(/[[\]]/g, "");
  const plain = connectPlain(Number(port || 4222), host);
  const { promise, resolve } = Promise.withResolvers<Date | null>();
  const timer = setTimeout(() => resolve(null), ANSWER_MS);
  plain.on("error", () => resolve(null));
  // The server's first line: what it is.
  plain.once("data", () => {
    // Who it is has been checked by then, and nothing is sent.
    const secure = connectTls({ socket: plain, rejectUnauthorized: false });
    secure.on("error", () => resolve(null));
    secure.once("secureConnect", () => {
      const end = new Date(secure.getPeerCertificate().valid_to);
      resolve(Number.isNaN(end.getTime()) ? null : end);
    });
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    plain.destroy();
  }
}
