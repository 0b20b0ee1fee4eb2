// A task in words: its result as `deploy --wait`, `task` and `demo` print it. Everything that others wrote is made
// plain here.
import type { AgentUsage } from "../../../shared/contracts/agent-event.ts";
import type { AgentResult, CheckResult } from "../../../shared/contracts/attempt-result.ts";
import type { PushView } from "../../../shared/contracts/push.ts";
import type { TaskView } from "../../../shared/contracts/task.ts";
import { plainLine } from "../terminal/plain-text.ts";
import { formatDuration, formatSize } from "../terminal/quantities.ts";
import { cut, properties, styled, styledState } from "../terminal/table.ts";

export function taskText(task: TaskView): string {
  const { result, failure } = task;
  const pullRequest = task.prNumber === null ? "" : `#${task.prNumber}`;
  const head = `${styledState(task.state)}  ${task.taskId}\n`;
  return (
    head +
    properties([
      [
        "what",
        task.requestedAt === null
          ? null
          : `${plainLine(task.repository)}${pullRequest}  ${plainLine(task.branch)} @ ${plainLine(task.sha).slice(0, 12)}`,
      ],
      ["priority", task.priority === "normal" ? null : task.priority],
      [
        "host",
        task.hostId === null
          ? null
          : `${task.hostId} (attempt ${task.attempt} of at most ${task.maxAttempts})`,
      ],
      ["times", timesText(task)],
      ["exit", result === null ? null : exitText(result)],
      [
        "memory",
        result?.peakMemoryBytes === undefined ? null : `${formatSize(result.peakMemoryBytes)} at most`,
      ],
      ...(result?.checks ?? []).map((check, index): [string, string] => [
        index === 0 ? "checks" : "",
        checkText(check),
      ]),
      ["agent", result?.agent === undefined ? null : agentText(result.agent)],
      ["begun afresh", afreshText(result?.agent)],
      ["says", saysText(result?.agent)],
      ...findingRows(result?.agent?.findings),
      ["artifacts", artifactsText(task)],
      ["push", task.push === null ? null : pushText(task.push)],
      [
        "failure",
        failure === null ? null : styled("red", `${failure.category}: ${plainLine(failure.message)}`),
      ],
      ["reason", task.reason === null ? null : plainLine(task.reason)],
      ["superseded by", task.supersededBy],
      ["retry of", task.retryOf],
      ["waits until", task.waitingUntil],
    ])
  );
}

function exitText({ exitCode, signal }: NonNullable<TaskView["result"]>): string {
  if (exitCode !== null) return String(exitCode);
  return signal ? `ended by ${plainLine(signal)}` : "no command ran";
}

function agentText({ runner, version, model, usage, denied, resumedFrom }: AgentResult): string {
  const parts = [
    plainLine(`${runner} ${version}, ${model}`),
    ...(resumedFrom === undefined
      ? []
      : [`from after turn ${resumedFrom.turns} of attempt ${resumedFrom.attempt}, on ${resumedFrom.hostId}`]),
    ...(usage === null ? ["what it used is unknown"] : usageText(usage)),
    ...(denied === 0 ? [] : [`${denied} tool use${denied === 1 ? "" : "s"} denied`]),
  ];
  return parts.join(" · ");
}

function pushText(push: PushView): string {
  switch (push.state) {
    case "wanted":
      return push.pusher === false
        ? "wanted, and no gateway that may push is there"
        : "wanted, by a gateway that may";
    case "pushed":
      return `${styled("green", "pushed")} as ${plainLine(push.sha)}`;
    case "parked":
      return `${styled("yellow", "parked")}, ${push.code}: ${cut(plainLine(push.message), 300)}`;
  }
}

function usageText(usage: AgentUsage): string[] {
  return [
    `${usage.turns} turn${usage.turns === 1 ? "" : "s"}`,
    ...(usage.costUsd === null ? [] : [`$${usage.costUsd.toFixed(2)}`]),
    `${usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens} tokens in, ${usage.outputTokens} out`,
  ];
}

const afreshText = (agent: AgentResult | undefined): string | null =>
  agent?.begunAfresh === undefined ? null : cut(plainLine(agent.begunAfresh), 300);

/** What it was asked to tell in a form is its last word, too. */
const saysText = (agent: AgentResult | undefined): string | null =>
  agent?.summary && agent.findings === undefined ? cut(plainLine(agent.summary), 300) : null;

function findingRows(findings: AgentResult["findings"]): [string, string][] {
  if (findings === undefined) return [];
  const lines = findings.first.map(({ file, line, severity, message }) =>
    cut(plainLine(`${severity}  ${file}${line === null ? "" : `:${line}`}  ${message}`), 160),
  );
  const more = findings.total - lines.length;
  if (more > 0) lines.push(`and ${more} more in the artifact findings`);
  return lines.length === 0
    ? [["findings", "none"]]
    : lines.map((text, index) => [index === 0 ? "findings" : "", text]);
}

function checkText({ gate, command, exitCode, verdict, durationMs }: CheckResult): string {
  const words = `${gate === "check" ? "" : `${gate}: `}${cut(plainLine(commandText(command)), 60)}`;
  const mark =
    verdict === "confirmed" ? styled("green", "✔") : verdict === "refuted" ? styled("red", "✘") : "?";
  return `${mark} ${words}  ${verdict}, exit ${exitCode ?? "none"}, ${formatDuration(durationMs)}`;
}

const commandText = (command: CheckResult["command"]): string =>
  typeof command === "string" ? command : command.join(" ");

function artifactsText({ result }: TaskView): string | null {
  if (result === null || result.artifacts.length === 0) return null;
  return result.artifacts.map(({ name, size }) => `${plainLine(name)} ${formatSize(size)}`).join(", ");
}

function timesText({ requestedAt, startedAt, endedAt, result }: TaskView): string | null {
  if (requestedAt === null) return null;
  const phases = result?.phases ?? {};
  const parts: [string, string | null][] = [
    ["queued", between(requestedAt, startedAt)],
    ["prepare", phases.prepareMs === undefined ? null : formatDuration(phases.prepareMs)],
    ["run", phases.runMs === undefined ? null : formatDuration(phases.runMs)],
    ["checks", phases.validateMs === undefined ? null : formatDuration(phases.validateMs)],
    ["in all", between(requestedAt, endedAt)],
  ];
  const known = parts.filter(([, duration]) => duration !== null);
  return known.length === 0
    ? `requested ${requestedAt}`
    : known.map(([name, duration]) => `${name} ${duration}`).join(" · ");
}

const between = (from: string | null, to: string | null): string | null =>
  from === null || to === null ? null : formatDuration(Date.parse(to) - Date.parse(from));
