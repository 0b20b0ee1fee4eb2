// What an orchestrator imports: the mesh as one object, the same over NATS and HTTP. It must never show which of
// the two it speaks; `connect-mesh.ts` makes one.
import type { ApiInput, ApiReply, CancelRequest, Explanation, SettingView } from "../contracts/api.ts";
import type { DeployRequest } from "../contracts/deploy-request.ts";
import { type Answer, type ErrorCode, refuse, type WireError } from "../contracts/failure.ts";
import type { TaskState, TaskView } from "../contracts/task.ts";
import { isEnd } from "../lifecycle/table.ts";
import type { TaskFact } from "./task-fact.ts";
import type { TaskLog } from "./task-log.ts";

export interface ListQuery {
  state?: TaskState | undefined;
  repository?: string | undefined;
  prNumber?: number | undefined;
  limit?: number | undefined;
  /** `nextCursor` of the page before. */
  cursor?: number | undefined;
}

export interface StreamOptions {
  /** Only what has a greater sequence; 0, or nothing, for all. */
  after?: number;
  /** Ends the stream by throwing the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Disposing closes it; the mesh and its tasks go on. */
export interface MeshClient extends AsyncDisposable {
  /** Stored when answered. Give a `taskId` to make the call safe to repeat; the mesh chooses one otherwise. */
  submit(request: DeployRequest): Promise<Answer<TaskView>>;
  get(taskId: string): Promise<Answer<TaskView>>;
  list(query?: ListQuery): Promise<Answer<ApiReply<"list">>>;
  cancel(request: CancelRequest): Promise<Answer<ApiReply<"cancel">>>;
  /** Speaks to the agent of a running task; do not repeat it blindly: it may have been heard. */
  say(request: ApiInput<"say">): Promise<Answer<ApiReply<"say">>>;
  /** A new task that does an ended one again. */
  retry(taskId: string): Promise<Answer<TaskView>>;
  /** Dead letters are done again, a page of them: `next` of the answer asks for the next. */
  retryAll(query?: ApiInput<"retryAll">): Promise<Answer<ApiReply<"retryAll">>>;
  /** Tasks that failed with no attempts left, each with its story, the latest first. */
  dead(query?: ApiInput<"dead">): Promise<Answer<ApiReply<"dead">>>;
  explain(taskId: string): Promise<Answer<Explanation>>;
  hosts(): Promise<Answer<ApiReply<"hosts">>>;
  /** What agents have used, by day, repository, runner or host, and how the day's budgets stand. */
  costs(query?: ApiInput<"costs">): Promise<Answer<ApiReply<"costs">>>;
  /** The hot configuration. */
  config(): Promise<Answer<{ data: SettingView[] }>>;
  /** Changes one setting; without a value it is at its default again. */
  configure(key: string, value?: unknown): Promise<Answer<SettingView>>;
  /** Nothing new is placed on the host; what runs there goes on. */
  cordon(request: ApiInput<"cordon">): Promise<Answer<ApiReply<"cordon">>>;
  /** It takes work again, cordoned or drained. */
  uncordon(hostId: string): Promise<Answer<ApiReply<"uncordon">>>;
  /** Nothing new is placed on the host, and what still runs there at the deadline is stopped and runs elsewhere. */
  drain(request: ApiInput<"drain">): Promise<Answer<ApiReply<"drain">>>;
  /** Nothing new begins, in the whole fleet or for one repository; what runs goes on. */
  pause(request?: ApiInput<"pause">): Promise<Answer<ApiReply<"pause">>>;
  /** A host, or the processes of a service, finish what they have in hand and end. */
  stop(request: ApiInput<"stop">): Promise<Answer<ApiReply<"stop">>>;
  resume(request?: ApiInput<"resume">): Promise<Answer<ApiReply<"resume">>>;
  /** Every fact about the task in order, each once; ends with the task. Throws `MeshError`. */
  facts(taskId: string, options?: StreamOptions): AsyncIterable<TaskFact>;
  /** Phases and output; with `follow`, until the task's end, else what there is now. Throws `MeshError`. */
  logs(taskId: string, options?: StreamOptions & { follow?: boolean | undefined }): AsyncIterable<TaskLog>;
  /**
   * What the attempt that ended last left under this name, checked against its manifest on the way: what is damaged
   * throws a `MeshError` before its end.
   */
  artifact(taskId: string, name: string): Promise<Answer<AsyncIterable<Uint8Array>>>;
  waitForEnd(taskId: string, options?: { signal?: AbortSignal | undefined }): Promise<Answer<TaskView>>;
  /** False while the link to the mesh is down; streams go on when it is back. */
  connected(): boolean;
}

/** What a stream throws; everything else answers with the same as a value. */
export class MeshError extends Error {
  override readonly name = "MeshError";
  readonly code: ErrorCode;
  constructor({ code, message }: WireError) {
    super(message);
    this.code = code;
  }
}

const SETTLE_MS = 10_000;
const PAUSE_MS = 50;

/** The task after its last fact: the view may follow the log by a moment. */
export async function waitForEnd(
  mesh: Pick<MeshClient, "facts" | "get">,
  taskId: string,
  signal?: AbortSignal,
): Promise<Answer<TaskView>> {
  try {
    for await (const _ of mesh.facts(taskId, { signal }));
  } catch (error) {
    if (error instanceof MeshError) return refuse(error.code, error.message);
    throw error;
  }
  return viewOfEnded(mesh, taskId, signal);
}

/** The view of a task that is known to have ended. */
export async function viewOfEnded(
  mesh: Pick<MeshClient, "get">,
  taskId: string,
  signal?: AbortSignal,
): Promise<Answer<TaskView>> {
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const task = await mesh.get(taskId);
    signal?.throwIfAborted();
    if ((task.ok && isEnd(task.value.state)) || performance.now() > deadline) return task;
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
}
