// `mesh doctor`: looks at everything on this machine that a host needs, and says what is wrong with it and what helps.
import { Command } from "commander";
import { withSettings } from "../host/settings-file.ts";
import { Failure } from "../outcome.ts";
import { orSay } from "../up/up.ts";
import type { Group } from "./examine.ts";
import type { Finding } from "./finding.ts";

interface Options {
  environment?: string;
  json?: boolean;
}

export const doctorCommand = (): Command =>
  new Command("doctor")
    .description("check what a host needs on this machine: ok, warn or fail, with the reason and what helps")
    .option(
      "--environment <file>",
      "settings of a service (`mesh host status` names them), beside those here",
    )
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExit 1 if anything fails; warnings are none.")
    .action((options: Options) => orSay(() => doctor(options)));

async function doctor({ environment: file, json }: Options): Promise<void> {
  const { readSettings } = await import("../../../shared/config/mesh-config.ts");
  const { examine } = await import("./examine.ts");
  const { jsonLine } = await import("../terminal/plain-text.ts");
  // As the service has it, with what its agents are given.
  const env = Object.assign(process.env, withSettings(file));
  const groups = await examine(await readSettings(env), env, file);
  const all = groups.flatMap(({ name, findings }) =>
    findings.map((finding) => ({ group: name, ...finding })),
  );
  const failed = all.filter(({ verdict }) => verdict === "fail").length;
  process.stdout.write(json ? jsonLine({ ok: failed === 0, findings: all }) : await reportOf(groups));
  if (failed > 0) throw new Failure("");
}

const STYLES = { ok: "green", warn: "yellow", fail: "red" } as const;

async function reportOf(groups: Group[]): Promise<string> {
  const { styled } = await import("../terminal/table.ts");
  const { plainLine } = await import("../terminal/plain-text.ts");
  const findings = groups.flatMap((group) => group.findings);
  const width = Math.max(...findings.map(({ check }) => check.length));
  const line = (finding: Finding) => {
    const { check, verdict, found } = finding;
    const fix = verdict === "ok" ? "" : `${" ".repeat(width + 10)}→ ${plainLine(finding.fix)}\n`;
    return `  ${styled(STYLES[verdict], verdict.padEnd(4))}  ${check.padEnd(width)}  ${plainLine(found)}\n${fix}`;
  };
  const count = (verdict: Finding["verdict"]) =>
    findings.filter((finding) => finding.verdict === verdict).length;
  const sections = groups.map(
    ({ name, findings: some }) => `${styled("bold", name)}\n${some.map(line).join("")}`,
  );
  return `${sections.join("")}${count("ok")} ok, ${count("warn")} warn, ${count("fail")} fail\n`;
}
