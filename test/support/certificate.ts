// Certificates of a test's own, made with openssl: each is its own authority. It must never keep one.
import { execFileSync } from "node:child_process";
import path from "node:path";

/** Without it what needs a certificate cannot be tested, which is said aloud. */
export const opensslIsThere: boolean = (() => {
  try {
    return execFileSync("openssl", ["version"]).length > 0;
  } catch {
    console.warn("SKIPPED: the tests of TLS make their certificates with openssl, which is not here");
    return false;
  }
})();

/** For one name, as openssl writes it: `DNS:localhost`, `IP:127.0.0.1`. */
export function makeCertificate(folder: string, name: string): { certFile: string; keyFile: string } {
  const [certFile, keyFile] = [path.join(folder, "test-cert.pem"), path.join(folder, "test-key.pem")];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", keyFile];
  const subject = ["-subj", "/CN=test", "-addext", `subjectAltName=${name}`];
  execFileSync("openssl", ["req", "-x509", ...key, ...subject, "-out", certFile], { stdio: "pipe" });
  return { certFile, keyFile };
}
