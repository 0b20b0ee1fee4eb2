// The seam between an attempt and what it runs. A runner knows one program: whether it is here, how it is started,
// what its output means, and what became of it. It never knows where its process runs: the transport does.
import type { AgentEvent } from "../../../shared/contracts/agent-event.ts";
import type { AgentResult } from "../../../shared/contracts/attempt-result.ts";
import type { Allowance } from "../../../shared/contracts/budget.ts";
import type { DeployRequest, RunnerName } from "../../../shared/contracts/deploy-request.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { Finding } from "../../../shared/contracts/task-type.ts";
import type { ModelUsed } from "../attempt/usage-report.ts";
import type { ExecSpec, ExitRecord, GuestProcess } from "../supervisor/supervisor-link.ts";
import type { Provider } from "./provider.ts";

export interface Runner {
  readonly name: RunnerName;
  /** Whether this host can run it now; the reason why not is for its operator. */
  probe(): Promise<Probe>;
  /** Begins the run. The attempt's signal ends the process by itself: the runner hears that its end was wanted. */
  start(spec: RunSpec, transport: Transport, signal: AbortSignal): Run;
  /** How its sessions are kept, for a runner that can go on with one on another host. */
  readonly sessions?: SessionRules;
  /** Whom its program asks at a door of its instance, for a runner that never gives it the host's key. */
  readonly provider?: Provider;
}

/** Pure. */
export interface SessionRules {
  /** Where the program keeps the session, below its home. */
  fileOf(sessionId: string, workTree: string): string;
  /**
   * Its text up to the end of the last turn of which all is done, and how many turns that are; null before the first.
   * `toolIds`: what had been done by then, after the last turn too.
   */
  read(text: string): { whole: { text: string; turns: number } | null; toolIds: Set<string> };
}

export type Probe = { ok: true; version: string } | { ok: false; reason: string };

export interface RunSpec {
  request: DeployRequest;
  /** What it may use at most; what its task has left, or a budget of the day. */
  allowance: Allowance;
  /** Of a runner that keeps sessions. */
  session?: {
    /** Lies where the program looks for it, and is to be gone on with; null for a new one. */
    resume: { sessionId: string } | null;
    /** Called once something that the model asked for has been done; its program may not have written it down yet. */
    onDone(done: { sessionId: string; toolId: string }): void;
  };
}

/** How the one process of a run is started, wherever it runs, under the attempt's lease, limits and time. */
export interface Transport {
  /** The tree's full path, as the process sees it; it begins there. */
  readonly workTree: string;
  /** What it prints is kept; where somebody listens, its stdout as the run's transcript, which is not for people. */
  start(command: RunCommand, listener?: Listener): GuestProcess;
}

type Listener = Record<"stdout" | "stderr", (bytes: Buffer) => void>;

export type RunCommand = Pick<ExecSpec, "argv" | "env" | "silenceMs" | "stopSignals"> & { stdin?: "pipe" };

export interface Run {
  /** Ends with the run. */
  readonly events: AsyncIterable<AgentEvent>;
  /** Tells a running agent something; false if it takes nothing any more. */
  say(text: string): boolean;
  /** Has it leave what it is doing; false if it does not know how. */
  interrupt(): boolean;
  /** Answers an `approval` event; false if nobody waits for that any more. */
  answer(approvalId: string, allow: boolean): boolean;
  /** Never rejects. */
  readonly outcome: Promise<RunOutcome>;
}

export interface RunOutcome {
  exit: ExitRecord;
  /** Null if it went well. */
  failure: Failure | null;
  agent?: AgentResult;
  /** What each model has used, where the agent tells them apart. */
  models?: ModelUsed[];
  /** What it says that it has found, where it was asked and has told it in the form that was asked for. */
  findings?: Finding[];
  /** It was to go on with a session, and ended before the model was asked anything. */
  isSessionRefused?: true;
}
