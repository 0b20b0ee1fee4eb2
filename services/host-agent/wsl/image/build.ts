// Makes the image that `mesh host image import` takes: the recipe's steps in a root of their own, then a tarball. What
// does not come to its end leaves no tarball, and nothing else.
import { rename, rm } from "node:fs/promises";
import path from "node:path";
import type { WslOutcome } from "../wsl-error.ts";
import type { ImageStep } from "./recipe.ts";
import type { ImageRoot } from "./root.ts";

/** `out` ends in `.tar`, `.tar.gz` or `.tar.xz`. Tells what the programs in it say of themselves. */
export async function buildImage(
  root: ImageRoot,
  steps: ImageStep[],
  out: string,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (text: string) => void },
): Promise<WslOutcome<string>> {
  const draft = path.join(path.dirname(out), `new-${path.basename(out)}`);
  try {
    const said: string[] = [];
    for (const step of steps) {
      signal.throwIfAborted();
      onProgress(step.name);
      const done = await root.run(step);
      if (!done.ok) return done;
      if (step.name === "try it") said.push(done.value.trim());
    }
    onProgress(`packing ${out}`);
    const packed = await root.pack(draft);
    if (!packed.ok) return packed;
    await rename(draft, out);
    return { ok: true, value: said.join("\n") };
  } finally {
    await rm(draft, { force: true });
    await root.remove();
  }
}
