// The files that an attempt leaves behind: each by the name of its artifact, until all of them are on the bus.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { Bus } from "../../../shared/bus/connect.ts";
import type { AttemptResult } from "../../../shared/contracts/attempt-result.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { Redactor } from "../redaction.ts";
import { type ArtifactOwner, publishArtifact } from "./artifacts.ts";

interface AttemptFiles {
  /** Where an artifact of this name is kept. */
  fileOf(name: string): string;
  /** All of them onto the bus, with what became of the attempt; `result` gets the manifest. */
  publish(result: AttemptResult, failure: Failure | null): Promise<void>;
}

export function attemptFiles(
  folder: string,
  {
    bus,
    redactor,
    owner,
    signal,
  }: { bus: Bus; redactor: Redactor; owner: ArtifactOwner; signal: AbortSignal },
): AttemptFiles {
  const files = new Map<string, string>();
  const fileOf = (name: string) => {
    const file = path.join(folder, name);
    files.set(name, file);
    return file;
  };
  return {
    fileOf,
    async publish(result, failure) {
      const { artifacts, ...told } = result;
      await writeFile(fileOf("result"), redactor.text(JSON.stringify({ ...told, failure }, null, 2)));
      for (const [name, file] of files) artifacts.push(await publishArtifact(bus, owner, name, file, signal));
    },
  };
}
