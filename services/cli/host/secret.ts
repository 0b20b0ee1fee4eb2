// `mesh host secret …`: the secrets that this machine has for tasks, in the host agent's own file. A value comes on
// standard input alone, and must never be printed or stand among arguments.
import { stat } from "node:fs/promises";
import path from "node:path";
import { Command } from "commander";
import { SecretGrant } from "../../../shared/contracts/secret.ts";
import type { Store } from "../../host-agent/secrets/store.ts";
import { Failure, messageOf, UsageError } from "../outcome.ts";
import { collect } from "../repeatable.ts";
import { tell } from "../session.ts";
import { DATA_FLAG } from "./data-flag.ts";

interface Options {
  repo?: string[];
  data?: string;
  json?: boolean;
  quiet?: boolean;
}

const REPOSITORY = "host/owner/name, or host/owner/* for all of an owner's (repeatable)";

export function secretCommand(): Command {
  const secret = new Command("secret").description("secrets that this machine has for tasks, by name");
  for (const command of [list(), set(), grant(), remove()]) secret.addCommand(command);
  return secret;
}

const list = () =>
  withFlags(
    new Command("list")
      .description("which there are and for which repositories, without their values")
      .option("--json", "print JSON, one line for each file"),
  ).action(async (options: Options) => {
    const stores = await Promise.all(
      (await files(options)).map(async (file) => ({ file, store: await read(file) })),
    );
    const { offeredBy } = await import("../../host-agent/secrets/store.ts");
    const { jsonLine, plainLine } = await import("../terminal/plain-text.ts");
    for (const { file, store } of stores) {
      const secrets = offeredBy(store);
      if (options.json) process.stdout.write(jsonLine({ file, secrets }));
      else if (secrets.length === 0) tell(options, `${file}: none`);
      else
        for (const { name, repositories } of secrets)
          process.stdout.write(
            `${plainLine(`${name}: ${repositories.join(", ") || "granted to no repository"}`)}\n`,
          );
    }
  });

const set = () =>
  withFlags(
    new Command("set")
      .description("give it a value, one line on standard input; what it is granted to stays")
      .argument("<name>", "the environment variable in which tasks get it")
      .option("--repo <repository>", `grant it to this one too: ${REPOSITORY}`, collect),
  ).action(async (name: string, options: Options) => {
    const value = await readValue();
    await change(options, (store) => ({
      ...store,
      [name]: {
        value,
        repositories: joined(
          Object.hasOwn(store, name) ? knownIn(store, name).repositories : [],
          options.repo ?? [],
        ),
      },
    }));
    tell(options, `${name} is set`);
  });

const grant = () =>
  withFlags(
    new Command("grant")
      .description("let tasks of a repository have it")
      .argument("<name>")
      .argument("<repository...>", REPOSITORY),
  ).action(async (name: string, repositories: string[], options: Options) => {
    await change(options, (store) => {
      const known = knownIn(store, name);
      return { ...store, [name]: { ...known, repositories: joined(known.repositories, repositories) } };
    });
    tell(options, `${name} is granted to ${repositories.join(", ")}`);
  });

const remove = () =>
  withFlags(
    new Command("remove")
      .description("forget it, or with --repo only what it is granted to")
      .argument("<name>")
      .option("--repo <repository>", `take it from this one alone: ${REPOSITORY}`, collect),
  ).action(async (name: string, options: Options) => {
    await change(options, (store) => {
      const known = knownIn(store, name);
      const { [name]: _, ...others } = store;
      if (options.repo === undefined) return others;
      const taken = joined([], options.repo);
      const unknown = taken.find((one) => !known.repositories.includes(one));
      if (unknown !== undefined) throw new Failure(`${name} is not granted to ${unknown}`);
      return {
        ...others,
        [name]: { ...known, repositories: known.repositories.filter((one) => !taken.includes(one)) },
      };
    });
    tell(
      options,
      options.repo === undefined ? `${name} is removed` : `${name} is taken from ${options.repo.join(", ")}`,
    );
  });

const withFlags = (command: Command): Command =>
  command.option("--data <dir>", DATA_FLAG).option("--quiet", "no messages on stderr but errors");

function knownIn(store: Store, name: string): NonNullable<Store[string]> {
  const known = Object.hasOwn(store, name) ? store[name] : undefined;
  if (known === undefined)
    throw new Failure(`no secret ${name} here; there are: ${Object.keys(store).join(", ") || "none"}`);
  return known;
}

/** As they are kept; those that are there already once. */
function joined(granted: readonly string[], more: readonly string[]): string[] {
  const read = more.map((text) => {
    const grant = SecretGrant.safeParse(text);
    if (!grant.success) throw new UsageError(`"${text}": ${grant.error.issues[0]?.message}`);
    return grant.data;
  });
  return [...new Set([...granted, ...read])];
}

async function files({ data }: Options): Promise<string[]> {
  const { hostFolders } = await import("./host-folders.ts");
  const { storeFileIn } = await import("../../host-agent/secrets/store-file.ts");
  const named = process.env.MESH_HOST_SECRETS;
  if (data === undefined && named) return [path.resolve(named)];
  return (await hostFolders(data)).map(storeFileIn);
}

async function read(file: string): Promise<Store> {
  const { readStore } = await import("../../host-agent/secrets/store-file.ts");
  const found = await readStore(file, { mayLack: true });
  if (!found.ok) throw new Failure(found.problem);
  return found.store;
}

/** In all of this machine's host agents' files, once it is known to be possible in each. */
async function change(options: Options, changed: (store: Store) => Store): Promise<void> {
  const { parseStore } = await import("../../host-agent/secrets/store.ts");
  const { lockStore, writeStore } = await import("../../host-agent/secrets/store-file.ts");
  await using locks = new AsyncDisposableStack();
  const wanted: { file: string; store: Store }[] = [];
  for (const file of await files(options)) {
    await seeOwnFolder(path.dirname(file));
    locks.use(await orUnwritable(file, lockStore(file)));
    const next = parseStore(JSON.stringify(changed(await read(file))));
    if (!next.ok) throw new UsageError(next.problem);
    wanted.push({ file, store: next.store });
  }
  for (const { file, store } of wanted) await orUnwritable(file, writeStore(file, store));
}

const orUnwritable = <Value>(file: string, done: Promise<Value>): Promise<Value> =>
  done.catch((error: unknown) => {
    throw new Failure(`${file} cannot be written: ${messageOf(error)}`);
  });

/** The host agent takes no file that another account has written. */
async function seeOwnFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch((error: unknown) => {
    throw new Failure(messageOf(error));
  });
  const own = process.getuid?.();
  if (own !== undefined && found.uid !== own)
    throw new Failure(
      `${folder} is user ${found.uid}'s: call this as the account that the host agent runs as`,
    );
}

async function readValue(): Promise<string> {
  if (process.stdin.isTTY)
    throw new UsageError("the value is read from standard input: `mesh host secret set NAME < file`");
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks)
    .toString()
    .replace(/\r?\n$/, "");
}
