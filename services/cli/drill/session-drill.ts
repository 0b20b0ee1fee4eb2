// `mesh drill session`: an agent's host is killed while its model is asked for the third answer; another host has to go on
// with the session. What the model is shown, and the patch, are believed over what the mesh says of itself.
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { artifactBytes, artifactOf } from "../../../shared/bus/artifacts.ts";
import { askApi } from "../../../shared/bus/ask.ts";
import { checkpointChunk, latestCheckpoint } from "../../../shared/bus/checkpoints.ts";
import { readEnvironment } from "../../../shared/config/environment.ts";
import type { CheckpointView } from "../../../shared/contracts/checkpoint.ts";
import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import type { TaskView } from "../../../shared/contracts/task.ts";
import { readAgents } from "../doctor/agents.ts";
import { Failure } from "../outcome.ts";
import { type Asked, startProviderRelay } from "./provider-relay.ts";
import { Scene, type SceneOptions } from "./scene.ts";

export interface SessionReport {
  drill: "session";
  killed: string;
  /** Answers of the model that were asked for, by attempt, in order. */
  turns: { attempt: number; hostId: string; turns: number[] }[];
  resumedFrom: { attempt: number; hostId: string; turns: number } | null;
  begunAfresh: string | null;
  /** Tools of the turns before that the model was shown again, of how many. */
  shownAgain: { shown: number; of: number };
  /** Files that the turns before had changed and the patch has too, of how many. */
  workKept: { kept: number; of: number };
  state: TaskView["state"];
  ok: boolean;
}

const PROVIDER = "https://api.anthropic.com";
const KILLED_IN_TURN = 3;
const TASK_MS = 900_000;
const KEPT_MS = 60_000;
const PROMPT = `This is a drill: do exactly what follows, one step after the other, each by one use of a tool.
Write the word "one" into a new file step-1.txt. Then write "two" into a new file step-2.txt. Then write "three" into a
new file step-3.txt. Then write "four" into a new file step-4.txt. When all four are there, say that the drill is over.`;

const decompress = promisify(gunzip);

export async function runSessionDrill(options: SceneOptions): Promise<SessionReport> {
  const environment = readEnvironment();
  const agents = await readAgents(environment, "namespaces");
  const claude = agents.find(({ name }) => name === "claude-code");
  if (claude !== undefined && "reason" in claude)
    throw new Failure(`the drill's hosts need Claude Code: ${claude.reason}`);
  await using stack = new AsyncDisposableStack();
  const asked: (Asked & { attempt: number; hostId: string })[] = [];
  const third = Promise.withResolvers<void>();
  let now = { attempt: 1, hostId: "drill-1" };
  const relay = stack.use(
    await startProviderRelay(process.env.ANTHROPIC_BASE_URL || PROVIDER, async (one, gone) => {
      asked.push({ ...one, ...now });
      if (now.attempt > 1 || one.turn < KILLED_IN_TURN) return;
      third.resolve();
      // For as long as its host lives.
      await new Promise((resolve) => gone.addEventListener("abort", resolve));
    }),
  );
  const scene = stack.use(await Scene.open(options));
  const env = {
    ANTHROPIC_BASE_URL: relay.url,
    MESH_HOST_TOOLS: [process.env.MESH_HOST_TOOLS, environment.MESH_CLAUDE_BIN].filter(Boolean).join(":"),
    NO_PROXY: [process.env.NO_PROXY, "127.0.0.1"].filter(Boolean).join(","),
    MESH_HOST_CHECKPOINTS: "1",
  };
  const first = await scene.startHost(1, env);
  const taskId = await scene.submitRequest(AGENT);
  const began = (attempt: number) =>
    scene.factsAbout(taskId).find(({ fact }) => fact.kind === "started" && fact.body.attempt === attempt);
  await scene.prepared("the drill's agent runs on drill-1", () => began(1) !== undefined);
  await scene.startHost(2, env);
  const task = async () => {
    const answered = await askApi(scene.bus, "get", { taskId });
    return answered.ok ? answered.value : null;
  };
  options.onProgress(`the model is asked for answer ${KILLED_IN_TURN}`);
  let isThird = false;
  void third.promise.then(() => {
    isThird = true;
  });
  let early: TaskView | null = null;
  await scene.within(TASK_MS, async () => {
    const known = isThird ? null : await task();
    if (known !== null && (known.endedAt !== null || known.failures > 0)) early = known;
    return isThird || early !== null;
  });
  if (!isThird) throw new Failure(endedEarly(early, asked));

  const owner = { taskId, attempt: 1, hostId: "drill-1" };
  let kept: CheckpointView | null = null;
  await scene.prepared(
    `what came of the first ${KILLED_IN_TURN - 1} answers is kept`,
    async () => {
      kept = await latestCheckpoint(scene.bus, owner);
      return kept?.turns === KILLED_IN_TURN - 1;
    },
    KEPT_MS,
  );
  const before = kept === null ? [] : filesIn(await patchOf(scene, owner, kept));
  now = { attempt: 2, hostId: "drill-2" };
  const { killed } = await scene.kill(`host drill-1, process ${first.pid} of the drill's own`, () =>
    first.kill(),
  );
  options.onProgress("another host goes on with the task");
  let ended: TaskView | null = null;
  await scene.within(TASK_MS, async () => {
    const known = await task();
    if (known?.endedAt) ended = known;
    return ended !== null;
  });
  if (ended === null) throw new Failure(`the task has not ended within ${TASK_MS / 60_000} minutes`);
  return await report(scene, ended, killed, asked, before);
}

const AGENT: Pick<DeployRequest, "prompt" | "runner" | "agent" | "timeoutMs"> = {
  runner: "claude-code",
  prompt: PROMPT,
  agent: { approvals: "allow" },
  timeoutMs: TASK_MS,
};

function endedEarly(task: TaskView | null, asked: Asked[]): string {
  const turns = `its model was asked for ${asked.length} answer${asked.length === 1 ? "" : "s"}`;
  if (task === null)
    return `the agent did not come to turn ${KILLED_IN_TURN} within ${TASK_MS / 60_000} minutes: ${turns}`;
  const why = task.failure === null ? "" : ` (${task.failure.category}: ${task.failure.message})`;
  return `the agent ended before turn ${KILLED_IN_TURN}, so there was nothing to drill: ${turns}, and the task is ${task.state}${why}`;
}

async function report(
  scene: Scene,
  task: TaskView,
  killed: string,
  asked: (Asked & { attempt: number; hostId: string })[],
  before: string[],
): Promise<SessionReport> {
  const agent = task.result?.agent;
  const earlier = asked.filter(({ attempt }) => attempt === 1).at(-1)?.toolIds ?? [];
  const again = new Set(asked.find(({ attempt }) => attempt > 1)?.toolIds ?? []);
  const shown = earlier.filter((id) => again.has(id)).length;
  const after = new Set(filesIn(await finalPatch(scene, task)));
  const kept = before.filter((file) => after.has(file)).length;
  const turns = [...Map.groupBy(asked, ({ attempt, hostId }) => `${attempt} ${hostId}`).values()].map(
    (own) => ({
      attempt: own[0]?.attempt ?? 0,
      hostId: own[0]?.hostId ?? "",
      turns: [...new Set(own.map(({ turn }) => turn))],
    }),
  );
  const resumedFrom = agent?.resumedFrom ?? null;
  const isShown = earlier.length > 0 && shown === earlier.length;
  return {
    ...{ drill: "session", killed, turns, resumedFrom, begunAfresh: agent?.begunAfresh ?? null },
    shownAgain: { shown, of: earlier.length },
    workKept: { kept, of: before.length },
    state: task.state,
    ok: task.state === "succeeded" && resumedFrom !== null && isShown && kept === before.length,
  };
}

async function patchOf(
  { bus }: Scene,
  owner: { taskId: string; attempt: number; hostId: string },
  { slot, chunks, sessionBytes }: CheckpointView,
): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for (let number = 0; number < chunks; number++)
    pieces.push((await checkpointChunk(bus, owner, slot, number)) ?? Buffer.alloc(0));
  return decompress(Buffer.concat(pieces).subarray(sessionBytes));
}

async function finalPatch({ bus }: Scene, task: TaskView): Promise<Buffer> {
  const entry = artifactOf(task, "patch");
  const bytes = entry.ok ? await artifactBytes(bus, task, entry.value) : entry;
  if (!bytes.ok) return Buffer.alloc(0);
  const pieces: Uint8Array[] = [];
  for await (const piece of bytes.value) pieces.push(piece);
  return Buffer.concat(pieces);
}

const filesIn = (patch: Buffer): string[] =>
  [...patch.toString().matchAll(/^diff --git (.*)$/gm)].map(([, names = ""]) => names);
