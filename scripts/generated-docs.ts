// The parts of the documentation that are made from the code, each between two marks in its file.

import { describeVariable, ENVIRONMENT_NAMES } from "../shared/config/environment.ts";
import { hostTableExample } from "../shared/config/host-table.ts";
import { viewSettings } from "../shared/config/settings.ts";
import { API_VERBS, apiSubject } from "../shared/contracts/api.ts";
import { artifactSubject } from "../shared/contracts/artifact.ts";
import { checkpointSubject } from "../shared/contracts/checkpoint.ts";
import { deadSubject } from "../shared/contracts/dead.ts";
import { FACT_BODIES, FACT_KINDS, type FactKind, factSubject, SPEAKER_OF } from "../shared/contracts/fact.ts";
import { heartbeatSubject } from "../shared/contracts/heartbeat.ts";
import { intakeSubject } from "../shared/contracts/intake.ts";
import { LEASE, silenceMs } from "../shared/contracts/lease.ts";
import { logSubject } from "../shared/contracts/log.ts";
import { orderSubject } from "../shared/contracts/order.ts";
import { outlookSubject } from "../shared/contracts/outlook.ts";
import { pushSubject } from "../shared/contracts/push.ts";
import { receiptSubject } from "../shared/contracts/receipt.ts";
import { reserveSubject } from "../shared/contracts/reserve.ts";
import { stopSubject } from "../shared/contracts/service.ts";
import { lifecycleDiagram } from "../shared/lifecycle/diagram.ts";
import { LIMITS_HEAD, limitRows } from "./limits-table.ts";

/** Each takes the file's text and gives it back with its generated part made anew. */
export const generatedDocs: Record<string, (text: string) => string> = {
  "docs/architecture.md": (text) =>
    between(text, "lifecycle", `\`\`\`mermaid\n${lifecycleDiagram()}\n\`\`\``),
  "docs/protocol.md": (text) =>
    [
      ["facts", factTable()],
      ["subjects", subjectTable()],
      ["settings", settingTable()],
    ].reduce((whole, [mark = "", content = ""]) => between(whole, mark, content), text),
  "docs/guarantees.md": (text) => between(text, "lease", leaseTable()),
  "docs/limits.md": (text) => between(text, "limits", table(LIMITS_HEAD, limitRows())),
  "docs/mesh.example.toml": (text) =>
    between(text, "host", hostTableExample(), ["# ---- generated: host", "# ---- generated end"]),
  ".env.example": () => environmentExample(),
};

const WHO = {
  host: "the host `<hostId>`",
  control: "status tracker, or the API",
  priority: "orchestrator, gateway",
};

function factTable(): string {
  const rows = FACT_KINDS.map((kind: FactKind) => {
    const who = SPEAKER_OF[kind];
    const speaker = who === "priority" ? "<high, normal or low>" : who === "control" ? "control" : "<hostId>";
    const fields = Object.keys(FACT_BODIES[kind].shape)
      .filter((field) => kind !== "requested" || field === "after")
      .map((field) => `\`${field}\``);
    const body = kind === "requested" ? "the deploy request, `after` (0)" : fields.join(", ");
    return [`\`${filled(factSubject.template, { kind, speaker })}\``, WHO[who], body];
  });
  return table(["subject", "speaker", "body"], rows);
}

function subjectTable(): string {
  const rows = [
    [heartbeatSubject.template, "stream HOSTS, last value", "the host"],
    [logSubject.template, "stream LOGS", "the host"],
    [artifactSubject.template, "stream ARTIFACTS", "the host"],
    [checkpointSubject.template, "stream CHECKPOINTS, last value", "the host"],
    [receiptSubject.template, "stream RECEIPTS, last value", "scheduler"],
    [intakeSubject.template, "stream INTAKE, last value", "status tracker"],
    [deadSubject.template, "stream DEAD", "status tracker"],
    [pushSubject.template, "stream PUSHES, one for each task", "gateway"],
    [reserveSubject.template, "stream RESERVE", "status tracker"],
    [filled(orderSubject.template, { order: "run" }), "request/reply", "scheduler"],
    [filled(orderSubject.template, { order: "stop" }), "request/reply", "status tracker"],
    [filled(orderSubject.template, { order: "say" }), "request/reply", "status tracker"],
    [filled(orderSubject.template, { order: "drain" }), "request/reply", "status tracker"],
    [filled(orderSubject.template, { order: "who" }), "request/reply", "a host that starts"],
    [stopSubject.template, "request/reply", "status tracker"],
    [outlookSubject.template, "request/reply", "status tracker, for `explain`"],
    ...API_VERBS.map((verb) => [
      filled(apiSubject.template, { verb }),
      "request/reply, queue group",
      "anybody",
    ]),
  ];
  return table(
    ["subject", "kind", "who speaks or asks"],
    rows.map(([subject = "", ...others]) => [`\`${filled(subject, {})}\``, ...others]),
  );
}

function settingTable(): string {
  const rows = viewSettings(new Map()).map(({ key, value, description }) => [
    `\`${key}\``,
    `\`${JSON.stringify(value)}\``,
    description,
  ]);
  return table(["setting", "default", "what"], rows);
}

function leaseTable(): string {
  const seconds = (ms: number) => `${ms / 1_000} s`;
  return table(
    ["time", "default", "meaning"],
    [
      [
        "lease",
        seconds(LEASE.leaseMs),
        "a tree may act so long after a stamp; `MESH_LEASE_MS`, the others in proportion",
      ],
      ["margin", seconds(LEASE.marginMs), "what a supervisor may be late"],
      [
        "silence",
        seconds(silenceMs(LEASE)),
        "of a host, after which its attempts are lost: lease and margin",
      ],
      [
        "heartbeat",
        seconds(LEASE.heartbeatMs),
        "so often a host speaks: several may get lost within a lease",
      ],
      ["check", seconds(LEASE.checkMs), "so often the supervisor looks at its lease"],
      ["frozen", seconds(LEASE.frozenLimitMs), "a tree that has stood still for so long is ended"],
    ],
  );
}

/** Columns of even width, as the formatter writes them. */
function table(head: string[], rows: string[][]): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (cells: string[], filler: string) =>
    `| ${widths.map((width, column) => (cells[column] ?? "").padEnd(width, filler)).join(" | ")} |`;
  return [line(head, " "), line([], "-"), ...rows.map((row) => line(row, " "))].join("\n");
}

const filled = (template: string, values: Record<string, string>): string =>
  template.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? `<${name}>`);

function environmentExample(): string {
  const lines = ENVIRONMENT_NAMES.flatMap((name) => ["", `# ${describeVariable(name)}`, `#${name}=`]);
  return [
    "# Every environment variable the mesh reads. Each has a default or is optional; set what you need. A copy called .env",
    "# is read by docker compose alone; elsewhere export them, or run `node --env-file=.env services/…/main.ts`.",
    ...lines,
    "",
  ].join("\n");
}

function between(
  text: string,
  mark: string,
  content: string,
  [begin, end]: readonly [string, string] = [`<!-- generated: ${mark} -->`, "<!-- /generated -->"],
): string {
  const from = text.indexOf(begin);
  const to = text.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`the marks of the generated part "${mark}" are missing`);
  return `${text.slice(0, from + begin.length)}\n${content}\n${text.slice(to)}`;
}
