// The guest's programs as one file without imports, named after what is in it: so a host never speaks to the guest of
// another version, and the same version is never written twice under two names.
import { createHash } from "node:crypto";
import path from "node:path";
import { ownAsset } from "../../../shared/process/own-program.ts";

export interface GuestBundle {
  /** Such as `guest-0123456789abcdef.mjs`. */
  fileName: string;
  bytes: Buffer;
  /** SHA-256, hex. */
  digest: string;
}

const ENTRY = path.join(import.meta.dirname, "..", "guest", "main.ts");

/** What the single-file program carries, in which there are no sources. */
export const GUEST_ASSET = "guest.mjs";

/** Made anew of the sources beside this file; takes about half a second. */
export async function bundleGuest(): Promise<GuestBundle> {
  const packaged = ownAsset(GUEST_ASSET);
  if (packaged !== null) return guestBundleOf(packaged);
  const { build } = await import("rolldown");
  const { output } = await build({
    input: ENTRY,
    platform: "node",
    write: false,
    output: { format: "esm", codeSplitting: false },
  });
  return guestBundleOf(Buffer.from(output[0].code));
}

function guestBundleOf(bytes: Buffer): GuestBundle {
  const digest = createHash("sha256").update(bytes).digest("hex");
  return { fileName: `guest-${digest.slice(0, 16)}.mjs`, bytes, digest };
}
