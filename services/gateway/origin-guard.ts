// Who may speak to a gateway that has no accounts: programs on this machine, and pages that it served itself.
// Pure; it must never let a web page of another origin, or a name rebound to loopback, reach a route.

/** The headers that a browser sets and no page can forge. */
export interface Provenance {
  host: string | undefined;
  origin: string | undefined;
  /** `Sec-Fetch-Site`. */
  fetchSite: string | undefined;
}

const NAMES = ["127.0.0.1", "localhost", "[::1]"];
const HTTP_PORT = 80;

/** Why the request is refused, in words, or null. */
export function originProblem({ host, origin, fetchSite }: Provenance, port: number): string | null {
  const authorities = NAMES.flatMap((name) => [
    `${name}:${port}`,
    // A browser leaves out the port that the scheme implies.
    ...(port === HTTP_PORT ? [name] : []),
  ]);
  if (host === undefined || !authorities.includes(host.toLowerCase()))
    return `the Host header names another server: expected 127.0.0.1:${port} or localhost:${port}`;
  if (origin !== undefined && !authorities.some((authority) => origin === `http://${authority}`))
    return "the Origin header names a foreign page: web pages may not speak to the mesh";
  // `same-site` is a page of another port of this machine: foreign too.
  if (fetchSite !== undefined && fetchSite !== "same-origin" && fetchSite !== "none")
    return "Sec-Fetch-Site names a foreign page: web pages may not speak to the mesh";
  return null;
}
