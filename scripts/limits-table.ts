// Every limit of the mesh with what happens at it, from the code that holds it, for docs/limits.md.

import { WEBHOOK_MAX_BYTES } from "../services/gateway/github.ts";
import { APPLY_MEMORY_BYTES } from "../services/gateway/push/commit.ts";
import { PUSHER_TIMES } from "../services/gateway/push/pusher.ts";
import { BODY_MAX_BYTES } from "../services/gateway/request-body.ts";
import { SSE_LIMITS } from "../services/gateway/sse.ts";
import { LOG_HEAD_BYTES, LOG_TAIL_BYTES } from "../services/host-agent/attempt/log-sink.ts";
import { STREAMS_MAX } from "../services/host-agent/guest/doors.ts";
import { WINDOW_BYTES } from "../services/host-agent/guest/framed-streams.ts";
import { MOVE_MS } from "../services/host-agent/held/held-attempt.ts";
import { CACHES_KEPT, CACHES_MAX_BYTES } from "../services/host-agent/workspace/cache-room.ts";
import {
  DEPENDENCIES_KEPT,
  DEPENDENCIES_MAX_BYTES,
} from "../services/host-agent/workspace/dependency-caches.ts";
import { KEPT_MOST, KEPT_MS } from "../services/host-agent/workspace/kept-workspaces.ts";
import { HUGE_BYTES } from "../services/host-agent/workspace/patch.ts";
import { ORDERS_AT_ONCE } from "../services/scheduler/dispatch.ts";
import { ATTEMPTS_REMEMBERED, WORK_REMEMBERED } from "../services/scheduler/footprints.ts";
import { REQUESTS_KEPT } from "../services/scheduler/queue-index.ts";
import { WAITING_RECEIPTS } from "../services/scheduler/waiting-receipts.ts";
import { TRACE_LIMITS } from "../services/simulator/trace.ts";
import { MOST_WAITING } from "../services/simulator/world.ts";
import { DEAD_LETTERS_KEPT } from "../services/status-tracker/dead-letters.ts";
import { DAYS_OF_COSTS, ENDED_KEPT } from "../services/status-tracker/ledger.ts";
import { PULL_REQUESTS_REMEMBERED } from "../services/status-tracker/supersede.ts";
import { FOLLOW_AHEAD } from "../shared/bus/reading.ts";
import { reserveBytes } from "../shared/bus/reserve-store.ts";
import {
  ARTIFACTS,
  CHECKPOINTS,
  DEAD,
  FACT_MAX_BYTES,
  LOGS,
  PUSHES,
  RECEIPTS,
  STREAMS,
} from "../shared/bus/streams.ts";
import { TAIL_AHEAD } from "../shared/bus/tail.ts";
import { readEnvironment } from "../shared/config/environment.ts";
import { DEFAULT_SETTINGS } from "../shared/config/settings.ts";
import { PATCH_MAX_BYTES } from "../shared/contracts/artifact.ts";
import { CHECKPOINT_MAX_BYTES } from "../shared/contracts/checkpoint.ts";
import { AGENT_DEFAULTS, REQUEST_DEFAULTS } from "../shared/contracts/deploy-request.ts";
import { ATTEMPT_FLOOR_BYTES } from "../shared/contracts/disk-floor.ts";
import { CANDIDATES_MAX } from "../shared/contracts/outlook.ts";
import { CELLS_KEPT } from "../shared/lifecycle/spending.ts";

const NANOSECONDS_OF_DAY = 86_400e9;
const defaults = readEnvironment({});

function bytes(count: number): string {
  if (count % 2 ** 30 === 0) return `${count / 2 ** 30} GiB`;
  return count % 2 ** 20 === 0 ? `${count / 2 ** 20} MiB` : `${count / 2 ** 10} KiB`;
}

function stream(name: string): string {
  const { max_bytes, max_age, max_msgs } = STREAMS.find((candidate) => candidate.name === name) ?? {};
  return [
    ...(max_msgs ? [String(max_msgs)] : []),
    ...(max_bytes ? [bytes(max_bytes)] : []),
    ...(max_age ? [`${max_age / NANOSECONDS_OF_DAY} days`] : []),
  ].join(", ");
}

export const LIMITS_HEAD = ["limit", "default", "set by", "what happens at it"];

export const limitRows = (): string[][] => [
  [
    "tasks of one priority without an end",
    String(defaults.MESH_QUEUE_LIMIT),
    "`MESH_QUEUE_LIMIT`",
    "a request is refused with `too_many` (HTTP 429 with `Retry-After`); nothing that was acknowledged is dropped",
  ],
  [
    "one request, or one fact, on the log",
    bytes(FACT_MAX_BYTES),
    "`shared/bus/streams.ts`",
    "a request is refused with `too_large`; a result that exceeds it becomes a failure `internal`",
  ],
  [
    "body of an HTTP request",
    bytes(BODY_MAX_BYTES),
    "`services/gateway/request-body.ts`",
    "`too_large` (413), as soon as that is known",
  ],
  ["body of a webhook", bytes(WEBHOOK_MAX_BYTES), "`services/gateway/github.ts`", "`too_large` (413)"],
  [
    "time of an attempt",
    `${REQUEST_DEFAULTS.timeoutMs / 60_000} min`,
    "`timeoutMs` of the request",
    "its tree is ended; failure `timeout`",
  ],
  [
    "silence of a coding agent",
    `${AGENT_DEFAULTS.silenceMs / 60_000} min`,
    "`agent.silenceMs` of the request",
    "it is ended; failure `timeout`",
  ],
  [
    "wait of a coding agent for an approval",
    `${AGENT_DEFAULTS.approvalMs / 60_000} min, or half its silence`,
    "`shared/contracts/deploy-request.ts`",
    "the tool is denied, and the agent goes on",
  ],
  [
    "memory of an attempt",
    bytes(REQUEST_DEFAULTS.memoryLimitBytes),
    "`limits.memoryBytes` of the request",
    "its tree is ended; failure `resource`",
  ],
  [
    "disk that attempts leave free",
    bytes(ATTEMPT_FLOOR_BYTES),
    "`shared/contracts/disk-floor.ts`",
    "the one that has the most of it is ended; failure `resource`",
  ],
  [
    "CPU time of an attempt",
    `${REQUEST_DEFAULTS.cpuLimit} cores`,
    "`limits.cpus` of the request",
    "it is slowed down to that, where the host has the controller `cpu`",
  ],
  [
    "processes and threads of an attempt at once",
    String(REQUEST_DEFAULTS.processLimit),
    "`limits.processes` of the request",
    "its tree is ended, where the host has the controller `pids`; failure `resource`",
  ],
  [
    "attempts of a task",
    String(REQUEST_DEFAULTS.maxAttempts),
    "`maxAttempts` of the request",
    "the task ends `failed`, `exhausted`",
  ],
  [
    "attempts on a host at once",
    String(defaults.MESH_HOST_SLOTS),
    "`MESH_HOST_SLOTS`",
    "the host refuses; the task stays queued",
  ],
  [
    "output of an attempt: its head",
    bytes(LOG_HEAD_BYTES),
    "`services/host-agent/attempt/log-sink.ts`",
    "the rest is not told as it comes; a `truncated` chunk says so",
  ],
  [
    "output of each process beyond that: its tail",
    bytes(LOG_TAIL_BYTES),
    "`services/host-agent/attempt/log-sink.ts`",
    "what lies between is left out; a mark in log and artifact says how many bytes",
  ],
  ["patch of an attempt", bytes(PATCH_MAX_BYTES), "`shared/contracts/artifact.ts`", "failure `resource`"],
  [
    "a changed file of an attempt",
    bytes(HUGE_BYTES),
    "`services/host-agent/workspace/patch.ts`",
    "failure `resource`",
  ],
  [
    "stream `LOGS`",
    stream(LOGS),
    "`shared/bus/streams.ts`",
    "the oldest chunks go; before their age: the tracker and `mesh hosts` say since when",
  ],
  [
    "stream `ARTIFACTS`",
    stream(ARTIFACTS),
    "`shared/bus/streams.ts`",
    "the same; a download says that they are no longer kept",
  ],
  [
    "stream `CHECKPOINTS`",
    stream(CHECKPOINTS),
    "`shared/bus/streams.ts`",
    "the oldest go: a task whose host is lost then begins afresh",
  ],
  [
    "checkpoint of an attempt, compressed",
    bytes(CHECKPOINT_MAX_BYTES),
    "`shared/contracts/checkpoint.ts`",
    "none is kept, and the attempt's log says so once",
  ],
  [
    "stream `DEAD`",
    stream(DEAD),
    "`shared/bus/streams.ts`",
    "nothing more is set aside; the tracker logs it and tries again every other second",
  ],
  [
    "stream `RECEIPTS`",
    stream(RECEIPTS),
    "`shared/bus/streams.ts`",
    "the oldest go: `explain` knows no reason for those tasks",
  ],
  [
    "what became of a patch that was to be pushed",
    stream(PUSHES),
    "`shared/bus/streams.ts`",
    "it is forgotten: `push` of its task is `wanted` again, and a gateway that begins anew parks it as `moved`",
  ],
  [
    "memory in which a patch that is pushed becomes a commit, on Linux",
    bytes(APPLY_MEMORY_BYTES),
    "`services/gateway/push/commit.ts`",
    "the patch is parked as `does-not-apply`",
  ],
  [
    "time in which a remote may take a push",
    `${PUSHER_TIMES.patienceMs / 60_000} min`,
    "`services/gateway/push/pusher.ts`",
    "the patch is parked as `unreachable`",
  ],
  [
    "room on the bus that is held for facts",
    bytes(reserveBytes(STREAMS.find(({ name }) => name === LOGS)?.max_bytes ?? 0)),
    "`shared/bus/reserve-store.ts`",
    "a bus with no other room takes facts, and refuses requests with `unavailable` (503) until the whole is free again",
  ],
  [
    "event streams of a gateway",
    String(SSE_LIMITS.maxClients),
    "`services/gateway/sse.ts`",
    "a further one is refused with `unavailable` (503)",
  ],
  [
    "a client that takes nothing from its event stream",
    `${SSE_LIMITS.stallMs / 1000} s`,
    "`services/gateway/sse.ts`",
    "it is cut off, and can resume",
  ],
  [
    "messages in memory ahead of an event stream's client",
    String(TAIL_AHEAD),
    "`shared/bus/tail.ts`",
    "the rest waits in the broker",
  ],
  [
    "messages in memory ahead of a service that follows the log",
    String(FOLLOW_AHEAD),
    "`shared/bus/reading.ts`",
    "the rest waits in the broker",
  ],
  [
    "requests in the scheduler's memory",
    String(REQUESTS_KEPT),
    "`services/scheduler/queue-index.ts`",
    "others are read from the log when a host is asked",
  ],
  [
    "hosts in one explanation",
    String(CANDIDATES_MAX),
    "`shared/contracts/outlook.ts`",
    "those that could take the task come first; the counts are of all",
  ],
  [
    "repositories, each with a task type and a runner, of which is remembered what attempts took",
    `${WORK_REMEMBERED}, of each ${ATTEMPTS_REMEMBERED} attempts`,
    "`services/scheduler/footprints.ts`",
    "the one whose attempts ended longest ago is forgotten: its tasks are counted with the default, and `explain` knows time-outs only",
  ],
  [
    "orders to hosts without an answer",
    String(ORDERS_AT_ONCE),
    "`services/scheduler/dispatch.ts`",
    "the next one is given when an answer comes",
  ],
  [
    "waiting tasks whose reason is kept up to date",
    String(WAITING_RECEIPTS),
    "`services/scheduler/waiting-receipts.ts`",
    "those further back have the reason they had last",
  ],
  [
    "ended tasks in lists",
    String(ENDED_KEPT),
    "`services/status-tracker/ledger.ts`",
    "older ones are not listed; each is found by its id, read from the log",
  ],
  [
    "facts before the end of a task that has ended",
    `${DEFAULT_SETTINGS["task.keepMs"] / 86_400_000} days`,
    "`task.keepMs` (`mesh config`)",
    "they leave the log, and only the end is kept",
  ],
  [
    "days, and of them repositories with runner and host, whose costs are at hand",
    `${DAYS_OF_COSTS}, ${CELLS_KEPT}`,
    "`shared/lifecycle/spending.ts`",
    "the oldest days are forgotten; `costs` does not tell them",
  ],
  [
    "dead letters in lists",
    String(DEAD_LETTERS_KEPT),
    "`services/status-tracker/dead-letters.ts`",
    "older ones are not listed; each is done again by its id",
  ],
  [
    "pull requests remembered with nothing unfinished",
    String(PULL_REQUESTS_REMEMBERED),
    "`services/status-tracker/supersede.ts`",
    "the longest untouched are forgotten: late news of them counts as new",
  ],
  [
    "repositories in a host's cache",
    `${CACHES_KEPT}, ${bytes(CACHES_MAX_BYTES)}`,
    "`services/host-agent/workspace/cache-room.ts`",
    "the one used longest ago is deleted, and cloned anew when needed; so it is when less than 2 GiB of the disk are free",
  ],
  [
    "wait of gates for a distro that the work has not touched",
    `${MOVE_MS / 60_000} min`,
    "`services/host-agent/held/held-attempt.ts`",
    "failure `host`; `timeout` where the task's own time is over first",
  ],
  [
    "kept workspaces on a host",
    `${KEPT_MOST}; ${KEPT_MS / 3_600_000} h`,
    "`services/host-agent/workspace/kept-workspaces.ts`",
    "the one kept longest goes, and all of them while the disk is short of room",
  ],
  [
    "dependency cache of a repository on a host",
    `${bytes(DEPENDENCIES_MAX_BYTES)}; ${DEPENDENCIES_KEPT} of them`,
    "`services/host-agent/workspace/dependency-caches.ts`",
    "one that is larger is begun anew; of too many, or while the disk is short of room, the oldest go",
  ],
  [
    "connections of an attempt at its doors, and what of each is under way to a slow reader",
    `${STREAMS_MAX}; ${bytes(WINDOW_BYTES)} each way`,
    "`services/host-agent/guest/doors.ts`",
    "a further one is closed; the writer waits",
  ],
  [
    "tasks of a simulation",
    `${TRACE_LIMITS.tasks}, ${MOST_WAITING} of them waiting at once`,
    "`services/simulator`",
    "more are refused in words",
  ],
];
