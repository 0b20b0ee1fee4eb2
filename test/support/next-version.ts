// Turns the product into its next version, for a process that is started with `--import` of this file: every fact,
// heartbeat, order, reply and receipt has a field `fromTheNextVersion`, which this version does not know, every result
// a gate and a verdict of that kind, and the streams are configured anew. It must import nothing of the product, which would be loaded before it is changed.
import { registerHooks } from "node:module";

const FIELD = "fromTheNextVersion: { since: 2 }";
/** Requests to the API are a person's: what they may hold is told exactly. */
const REQUEST = `subject.startsWith("mesh.api.") ? request : { ...(request as object), ${FIELD} }`;
/** A gate and a verdict that there are none of yet. */
const CHECK = `{ gate: "licences", command: "true", exitCode: 0, durationMs: 1, verdict: "waived", log: "log" }`;
const FACT = `"result" in fact.body && fact.body.result
  ? { ...fact.body, result: { ...fact.body.result, checks: [${CHECK}] } } : fact.body`;

type Change = [what: RegExp, by: (match: string, group: string) => string];

/** By the end of the file's path. */
const CHANGES: Record<string, Change[]> = {
  "shared/bus/append.ts": [
    [/JSON\.stringify\(fact\.body\)/g, () => `JSON.stringify({ ...(${FACT}), ${FIELD} })`],
  ],
  "shared/bus/ask.ts": [
    [/(connection\.request\(subject, JSON\.stringify\()request\)/g, (_, before) => `${before}${REQUEST})`],
    [
      /\(result\.ok \? result\.value : result\.error\)/g,
      (value) => `({ ...(${value} as object), ${FIELD} })`,
    ],
  ],
  "shared/bus/streams.ts": [
    [/STREAMS_VERSION = (\d+)/g, (_, version) => `STREAMS_VERSION = ${Number(version) + 1}`],
    [/max_msgs: 100_000/g, () => "max_msgs: 99_999"],
  ],
  "services/host-agent/heartbeats.ts": [
    [/JSON\.stringify\(heartbeat\)/g, () => `JSON.stringify({ ...heartbeat, ${FIELD} })`],
  ],
  "services/scheduler/main.ts": [
    [/JSON\.stringify\(receipt\)/g, () => `JSON.stringify({ ...receipt, ${FIELD} })`],
  ],
};

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    const file = Object.keys(CHANGES).find((name) => url.endsWith(`/${name}`));
    if (file === undefined) return loaded;
    let source = Buffer.from(loaded.source as Uint8Array).toString();
    for (const [what, by] of CHANGES[file] ?? []) {
      // Otherwise this version would pass for the next one.
      if (source.match(what)?.length !== 1) throw new Error(`${file} has not exactly one ${String(what)}`);
      source = source.replace(what, by);
    }
    return { ...loaded, source };
  },
});
