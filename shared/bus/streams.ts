// Every stream and bucket of the mesh, in one place. Sizes in bytes, ages in nanoseconds (the server's unit).
import { DiscardPolicy, PersistMode, StorageType, type StreamConfig } from "@nats-io/jetstream";
import { artifactSubject } from "../contracts/artifact.ts";
import { checkpointSubject } from "../contracts/checkpoint.ts";
import { deadSubject } from "../contracts/dead.ts";
import { FACT_WILDCARDS } from "../contracts/fact.ts";
import { heartbeatSubject } from "../contracts/heartbeat.ts";
import { intakeSubject } from "../contracts/intake.ts";
import { logSubject } from "../contracts/log.ts";
import { pushSubject } from "../contracts/push.ts";
import { receiptSubject } from "../contracts/receipt.ts";
import { reserveSubject } from "../contracts/reserve.ts";

/** Raised with every change below: a service never takes a newer service's configuration back. */
export const STREAMS_VERSION = 8;

const SECOND = 1_000_000_000;
const DAY = 86_400 * SECOND;
/** A host's last heartbeat is kept for so long: whoever has not spoken since has left, ms. */
export const HOST_KEPT_MS = 86_400_000;
const MEBIBYTE = 1024 * 1024;

/** The largest request the log takes. */
export const FACT_MAX_BYTES = 512 * 1024;

export type MeshStream = Partial<StreamConfig> & Pick<StreamConfig, "name" | "subjects">;

export const TASKS = "TASKS";
export const HOSTS = "HOSTS";
export const LOGS = "LOGS";
export const RECEIPTS = "RECEIPTS";
export const ARTIFACTS = "ARTIFACTS";
export const CHECKPOINTS = "CHECKPOINTS";
export const DEAD = "DEAD";
export const INTAKE = "INTAKE";
export const PUSHES = "PUSHES";
export const RESERVE = "RESERVE";

/** Who leads: a key lives for `ttlMs` after its last renewal. For the quality of decisions only. */
export const LEASES = { bucket: "mesh_leases", ttlMs: 3_000 };

/** A table of JSON values that operators write and services watch. */
export interface Bucket {
  bucket: string;
}
export const bucketStream = ({ bucket }: Bucket): string => `KV_${bucket}`;
export const bucketSubject = ({ bucket }: Bucket, key: string): string => `$KV.${bucket}.${key}`;

/** The hot configuration: a setting's key, and its value. */
export const CONFIG: Bucket = { bucket: "mesh_config" };

/** What operators wish of hosts: a host's id, and its wish. */
export const HOST_WISHES: Bucket = { bucket: "mesh_hosts" };

/** What operators hold up: `fleet`, or a repository. */
export const PAUSES: Bucket = { bucket: "mesh_pauses" };

const bucketOf = (bucket: Bucket, description: string): MeshStream => ({
  name: bucketStream(bucket),
  description,
  subjects: [bucketSubject(bucket, ">")],
  storage: StorageType.File,
  max_msgs_per_subject: 1,
  max_msg_size: 64 * 1024,
  max_bytes: 16 * MEBIBYTE,
  discard: DiscardPolicy.New,
  allow_rollup_hdrs: true,
  allow_direct: true,
  duplicate_window: SECOND,
});

export const STREAMS: MeshStream[] = [
  {
    name: TASKS,
    description: "every fact about every task, in order: the only truth",
    subjects: FACT_WILDCARDS,
    storage: StorageType.File,
    max_msg_size: FACT_MAX_BYTES,
    allow_direct: true,
    duplicate_window: SECOND,
  },
  {
    name: HOSTS,
    description: "the last heartbeat of every host; its acknowledgement renews the host's lease",
    subjects: [heartbeatSubject.wildcard()],
    storage: StorageType.Memory,
    max_msgs_per_subject: 1,
    max_age: (HOST_KEPT_MS / 1_000) * SECOND,
    allow_direct: true,
    duplicate_window: SECOND,
  },
  {
    name: LOGS,
    description: "phases and output of attempts; losing the last second is no harm",
    subjects: [logSubject.wildcard()],
    storage: StorageType.File,
    persist_mode: PersistMode.Async,
    max_age: 7 * DAY,
    max_bytes: 1024 * MEBIBYTE,
    discard: DiscardPolicy.Old,
    duplicate_window: SECOND,
  },
  {
    name: RECEIPTS,
    description: "the latest placement decision of every task",
    subjects: [receiptSubject.wildcard()],
    storage: StorageType.Memory,
    max_msgs_per_subject: 1,
    max_msgs: 100_000,
    max_age: 7 * DAY,
    discard: DiscardPolicy.Old,
    allow_direct: true,
    duplicate_window: SECOND,
  },
  {
    name: INTAKE,
    description: "how many tasks have no end yet, and how many may",
    subjects: [intakeSubject.wildcard()],
    storage: StorageType.Memory,
    max_msgs_per_subject: 1,
    allow_direct: true,
    duplicate_window: SECOND,
  },
  {
    name: ARTIFACTS,
    description: "what attempts leave behind, in chunks",
    subjects: [artifactSubject.wildcard()],
    storage: StorageType.File,
    persist_mode: PersistMode.Async,
    max_age: 30 * DAY,
    max_bytes: 2048 * MEBIBYTE,
    discard: DiscardPolicy.Old,
    allow_direct: true,
    // Long enough for a chunk that is sent again after a lost answer.
    duplicate_window: 120 * SECOND,
  },
  {
    name: CHECKPOINTS,
    description: "where attempts have come to, for the next ones to go on from",
    subjects: [checkpointSubject.wildcard()],
    storage: StorageType.File,
    persist_mode: PersistMode.Async,
    max_msgs_per_subject: 1,
    // Longer than a provider has its quota wait.
    max_age: 3 * DAY,
    max_bytes: 1024 * MEBIBYTE,
    discard: DiscardPolicy.Old,
    duplicate_window: SECOND,
  },
  {
    name: DEAD,
    description: "messages nobody can decode, each once, keyed by its sequence",
    subjects: [deadSubject.wildcard()],
    storage: StorageType.File,
    max_msgs_per_subject: 1,
    discard: DiscardPolicy.New,
    discard_new_per_subject: true,
    max_bytes: 256 * MEBIBYTE,
    duplicate_window: SECOND,
  },
  {
    name: PUSHES,
    description: "what became of patches that were to be pushed, each once",
    subjects: [pushSubject.wildcard()],
    storage: StorageType.File,
    max_msgs_per_subject: 1,
    discard: DiscardPolicy.New,
    discard_new_per_subject: true,
    // Longer than the log keeps requests, unless told otherwise.
    max_age: 400 * DAY,
    duplicate_window: SECOND,
  },
  {
    name: RESERVE,
    description: "room for facts, given up once the bus has no other",
    subjects: [reserveSubject.wildcard()],
    storage: StorageType.File,
    persist_mode: PersistMode.Async,
    max_msgs_per_subject: 1,
    duplicate_window: SECOND,
  },
  {
    ...bucketOf(LEASES, "who leads: a bucket"),
    max_age: (LEASES.ttlMs / 1_000) * SECOND,
  },
  bucketOf(CONFIG, "the hot configuration: a bucket"),
  bucketOf(HOST_WISHES, "what operators wish of hosts: a bucket"),
  bucketOf(PAUSES, "what operators hold up: a bucket"),
];

/** What lies on disk and is worth more than a moment: the log before what its facts name. */
export const LASTING_STREAMS: string[] = STREAMS.filter(
  ({ name, storage }) => storage === StorageType.File && name !== bucketStream(LEASES) && name !== RESERVE,
).map(({ name }) => name);
/** What is made anew by every server. */
export const PASSING_STREAMS: string[] = STREAMS.map(({ name }) => name).filter(
  (name) => !LASTING_STREAMS.includes(name),
);
