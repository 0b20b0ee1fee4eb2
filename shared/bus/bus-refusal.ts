// Why a server will never have us, in words that a person can act on, or that it is merely away. It judges what the
// client throws while it connects, by class and code, and must never open a connection.
import { errors } from "nats";

/** Codes of Node's and OpenSSL's complaints about the other side's certificate, by how they begin. */
const UNTRUSTED = ["CERT_", "DEPTH_ZERO_", "SELF_SIGNED_", "UNABLE_TO_", "INVALID_CA", "ERR_TLS_CERT"];
/** The handshake itself went wrong: another protocol, no cipher in common. */
const NO_HANDSHAKE = ["ERR_SSL_", "ERR_TLS_", "EPROTO"];

/** Null: it may come, or come back, and trying again can help. */
export function refusalOf(error: unknown, address: string): string | null {
  if (error instanceof errors.UserAuthenticationExpiredError) return refusedToken(address, error);
  // Two cases have no class or code of their own: a server that was slow to hear our credentials, which may hear them
  // better next time, and one without TLS.
  if (error instanceof errors.AuthorizationError)
    return error.message.toLowerCase().includes("timeout") ? null : refusedToken(address, error);
  if (error instanceof errors.ConnectionError && error.message.includes("does not support 'tls'"))
    return `NATS at ${address} speaks no TLS: give it a certificate (nats.conf), or say nats:// if that is meant`;
  const code = codeOf(error);
  const words = error instanceof Error ? error.message : String(error);
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID")
    return `the certificate of NATS at ${address} is for another name: ${words}`;
  if (UNTRUSTED.some((beginning) => code.startsWith(beginning)))
    return (
      `the certificate of NATS at ${address} is not trusted here (${code}): ` +
      "set NATS_CA_FILE to the PEM file of the authority that signed it"
    );
  if (NO_HANDSHAKE.some((beginning) => code.startsWith(beginning)))
    return `no TLS connection to NATS at ${address} (${code}): ${words}`;
  return null;
}

const refusedToken = (address: string, { message }: Error): string =>
  `NATS at ${address} does not let us in (${message}): ` +
  "expected its token in the URL, such as tls://TOKEN@host:port";

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string"
    ? error.code
    : "";
