// Attempts with nothing of the mesh around them: the real executor, guest supervisor, git and nats-server, and a
// lease that a test holds itself. It must hold no expectations.

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { pino } from "pino";
import { attemptExecutor } from "../../services/host-agent/attempt/attempt.ts";
import { endFormerLife } from "../../services/host-agent/guest/former-life.ts";
import { markedWith } from "../../services/host-agent/guest/processes.ts";
import type { Hello } from "../../services/host-agent/guest/protocol.ts";
import { markOf } from "../../services/host-agent/guest/state.ts";
import type { Outcome, Stop } from "../../services/host-agent/held/executor.ts";
import { memoryLimitOf } from "../../services/host-agent/held/memory-limit.ts";
import type { OwnersNetwork } from "../../services/host-agent/network/plan.ts";
import { createRedactor } from "../../services/host-agent/redaction.ts";
import { commandRunner } from "../../services/host-agent/runner/command.ts";
import { programsHere } from "../../services/host-agent/runner/program.ts";
import type { Run, Runner } from "../../services/host-agent/runner/runner.ts";
import { keepSecrets } from "../../services/host-agent/secrets/host-secrets.ts";
import { storeFileIn } from "../../services/host-agent/secrets/store-file.ts";
import { keepGuest } from "../../services/host-agent/supervisor/guest-keeper.ts";
import { localSupervisorCommand } from "../../services/host-agent/supervisor/supervisor-command.ts";
import { KEPT_FOLDER, keptWorkspaces } from "../../services/host-agent/workspace/kept-workspaces.ts";
import { localWorkspaces } from "../../services/host-agent/workspace/workspaces.ts";
import { checkpointChunk, latestCheckpoint } from "../../shared/bus/checkpoints.ts";
import { connectBus } from "../../shared/bus/connect.ts";
import { provision } from "../../shared/bus/provision.ts";
import { storedMessages } from "../../shared/bus/read.ts";
import { ARTIFACTS, LOGS } from "../../shared/bus/streams.ts";
import type { AgentEvent } from "../../shared/contracts/agent-event.ts";
import { artifactSubject } from "../../shared/contracts/artifact.ts";
import type { AttemptResult } from "../../shared/contracts/attempt-result.ts";
import type { CheckpointView } from "../../shared/contracts/checkpoint.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { LogChunk, logSubject } from "../../shared/contracts/log.ts";
import { request } from "./facts.ts";
import { startNats } from "./nats.ts";
import type { Repository } from "./repository.ts";

/** Long enough for any test: what happens without a lease is another file's matter. */
const LEASE_MS = 600_000;
const HOST_ID = "h1";
/** One that the host knows and no attempt may show. */
export const OWN_SECRET = "a-secret-of-this-host";

interface Attempted {
  taskId: string;
  ok: boolean;
  /** Category and message; null for a success. */
  failure: { category: string; message: string } | null;
  result: AttemptResult | undefined;
}

interface StartedAttempt {
  taskId: string;
  /** Rejects with the `Stop` when it was stopped. */
  ended: Promise<Attempted>;
  stop(reason: Stop): void;
  /** What runs in it, once it does. */
  run(): Run | null;
  /** The log accepts that it acts; without `held` it has done so at once. */
  release(): void;
}

export interface AttemptHost extends AsyncDisposable {
  hello: Hello;
  folder: string;
  start(
    repository: Repository,
    overrides?: Partial<DeployRequest>,
    options?: { held?: boolean },
  ): StartedAttempt;
  run(repository: Repository, overrides?: Partial<DeployRequest>): Promise<Attempted>;
  /** What it has said until now, in order. */
  chunks(taskId: string): Promise<LogChunk[]>;
  /** Of these, what its agent did. */
  events(taskId: string): Promise<AgentEvent[]>;
  /** An artifact's bytes as they lie on the bus, message by message. */
  artifact(taskId: string, name: string): Promise<Buffer[]>;
  /** The latest that its attempt has kept, with its session; null if there is none. */
  checkpoint(taskId: string): Promise<(CheckpointView & { session: string }) | null>;
  /** Names of attempts' folders that are there now. */
  folders(): Promise<string[]>;
  /** Living processes of its attempts. */
  processes(): number[];
  /** Throws if there is any of these. */
  seeNothingLeft(): Promise<void>;
}

/** `tools`: what its sandbox shows besides; `through`: what its supervisor is started through, as `WITHOUT_BUBBLEWRAP`. */
export async function startAttemptHost({
  runners = [],
  tools = [],
  through = [],
  network = { widest: "open", allowed: [] },
}: {
  runners?: Runner[];
  tools?: string[];
  through?: string[] | undefined;
  network?: OwnersNetwork;
} = {}): Promise<AttemptHost> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-attempts-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const nats = stack.use(await startNats());
  const bus = stack.use(await connectBus({ url: nats.url, name: "test" }));
  await provision(bus);
  const log = pino({ level: "silent" });
  const stateDir = path.join(folder, "supervisor");
  const times = { leaseMs: LEASE_MS, checkMs: 50, frozenLimitMs: LEASE_MS };
  const command = [...through, ...localSupervisorCommand({ stateDir, ...times, tools })];
  const guest = stack.use(
    await keepGuest({
      command: async () => command,
      silenceMs: LEASE_MS,
      endFormerLife: () => endFormerLife(stateDir),
      log,
    }),
  );
  await guest.firstStamp();
  const [hello, renew] = [guest.hello(), guest.takeStamp()];
  if (hello === null || renew === null) throw new Error("the guest supervisor has gone");
  renew();
  const stretch = await guest.nextStretch(AbortSignal.timeout(10_000));
  if (stretch === null) throw new Error("the guest supervisor holds no lease");
  const attemptsFolder = path.join(folder, "attempts");
  const artifactsFolder = path.join(folder, "artifacts");
  const workspaces = await localWorkspaces({
    cacheDir: path.join(folder, "cache"),
    dependenciesFolder: path.join(folder, "dependencies"),
    attemptsFolder,
    kept: keptWorkspaces(path.join(folder, KEPT_FOLDER)),
    allowFileClones: true,
  });
  const machine = {
    guest,
    workspaces,
    environment: process.env,
    isWorkRoot: false,
    programs: programsHere(""),
    [Symbol.asyncDispose]: async () => {},
  };
  const redactor = createRedactor([OWN_SECRET]);
  const secrets = stack.use(
    await keepSecrets({ file: storeFileIn(folder), isNamed: false, hostId: HOST_ID, redactor, log }),
  );
  const executor = attemptExecutor({
    bus,
    hostId: HOST_ID,
    artifactsFolder,
    runners: [commandRunner, ...runners],
    redactor,
    secrets,
    keepsSessions: true,
    network,
    log,
  });
  let started = 0;

  const start: AttemptHost["start"] = ({ url, branch, headSha }, overrides = {}, { held = false } = {}) => {
    const taskId = `t${++started}`;
    const stop = new AbortController();
    let run: Run | null = null;
    const accepted = Promise.withResolvers<string>();
    if (!held) accepted.resolve(stretch);
    const order = {
      taskId,
      attempt: 1,
      after: 1,
      request: request({ cloneUrl: url, branch, sha: headSha, ...overrides }),
    };
    const work = {
      order,
      machine,
      memoryLimitBytes: memoryLimitOf(order.request, undefined),
      attemptKey: `${taskId}.1`,
      signal: stop.signal,
      onRun: (given: Run | null) => {
        run = given;
      },
      stretch: () => accepted.promise,
      moveOn: () => Promise.reject(new Error("an attempt of this test wants another instance")),
    };
    return {
      taskId,
      ended: executor(work).then((outcome) => inShort(taskId, outcome)),
      stop: (reason) => stop.abort(reason),
      run: () => run,
      release: () => accepted.resolve(stretch),
    };
  };
  const messages = async (stream: string, subject: string): Promise<Buffer[]> => {
    await bus.connection.flush();
    const payloads: Buffer[] = [];
    for await (const { payload } of storedMessages(bus, stream, subject)) payloads.push(Buffer.from(payload));
    return payloads;
  };
  const chunks = async (taskId: string) => {
    const subject = logSubject.build({ taskId, attempt: "1", hostId: HOST_ID });
    const payloads = await messages(LOGS, subject);
    return payloads.map((payload) => LogChunk.parse(JSON.parse(payload.toString())));
  };
  const folders = async () => [
    ...(await readdir(attemptsFolder)),
    ...(await readdir(artifactsFolder).catch(() => [])),
  ];
  const processes = () => markedWith(markOf(stateDir));
  const moved = stack.move();
  return {
    hello,
    folder,
    start,
    run: (repository, overrides) => start(repository, overrides).ended,
    chunks,
    events: async (taskId) => (await chunks(taskId)).flatMap(({ event }) => event ?? []),
    artifact: (taskId, name) =>
      messages(ARTIFACTS, artifactSubject.build({ taskId, attempt: "1", hostId: HOST_ID, name })),
    async checkpoint(taskId) {
      const owner = { taskId, attempt: 1, hostId: HOST_ID };
      const kept = await latestCheckpoint(bus, owner);
      const bytes = kept && (await checkpointChunk(bus, owner, kept.slot, 0));
      if (kept === null || bytes === null) return null;
      return { ...kept, session: gunzipSync(bytes.subarray(0, kept.sessionBytes)).toString() };
    },
    folders,
    processes,
    async seeNothingLeft() {
      const left = [...processes(), ...(await folders())];
      if (left.length > 0) throw new Error(`attempts left ${left.join(" ")}`);
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

const inShort = (taskId: string, outcome: Outcome): Attempted => ({
  taskId,
  ok: outcome.ok,
  failure: outcome.ok ? null : outcome.failure,
  result: outcome.result,
});
