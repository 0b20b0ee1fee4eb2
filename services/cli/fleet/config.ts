// `mesh config get|set|unset`: the settings that are changed while the mesh runs. They reach every service by
// themselves, and what a service would refuse is refused here.
import { Command } from "commander";
import type { SettingView } from "../../../shared/contracts/api.ts";
import { UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, withCommonFlags, withMesh } from "../session.ts";

export const configCommand = (): Command =>
  new Command("config")
    .description("show or change the settings of a running mesh")
    .addCommand(
      withCommonFlags(
        new Command("get")
          .description("show the settings, or one of them")
          .argument("[key]", "the setting, such as task.timeoutGraceMs"),
      ).action(get),
    )
    .addCommand(
      withCommonFlags(
        new Command("set")
          .description("change a setting; every service follows within seconds")
          .argument("<key>", "the setting, such as task.timeoutGraceMs")
          .argument("<value>", "JSON, a word, or, for milliseconds, a duration such as 90s"),
      ).action((key: string, text: string, options: CommonOptions) =>
        configure(key, options, (parseDuration) => valueIn(key, text, parseDuration)),
      ),
    )
    .addCommand(
      withCommonFlags(
        new Command("unset")
          .description("put a setting back at its default")
          .argument("<key>", "the setting, such as task.timeoutGraceMs"),
      ).action((key: string, options: CommonOptions) => configure(key, options, () => undefined)),
    );

async function get(key: string | undefined, options: CommonOptions): Promise<void> {
  await withMesh(options, async (mesh) => {
    const { data } = valueOf(await mesh.config());
    if (key === undefined) return print(options, { data }, data);
    const setting = data.find((one) => one.key === key);
    if (setting === undefined)
      throw new UsageError(`no setting ${key}; known are: ${data.map((one) => one.key).join(", ")}`);
    await print(options, setting, [setting]);
  });
}

type ParseDuration = (text: string) => number | null;

async function configure(
  key: string,
  options: CommonOptions,
  value: (parseDuration: ParseDuration) => unknown,
): Promise<void> {
  const { parseDuration } = await import("../../../shared/config/quantities.ts");
  await withMesh(options, async (mesh) => {
    const setting = valueOf(await mesh.configure(key, value(parseDuration)));
    await print(options, setting, [setting]);
  });
}

/** What is no JSON is a word. */
export function valueIn(key: string, text: string, parseDuration: ParseDuration): unknown {
  const durationMs = key.endsWith("Ms") ? parseDuration(text) : null;
  if (durationMs !== null) return durationMs;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

async function print(options: CommonOptions, json: object, settings: SettingView[]): Promise<void> {
  const { jsonLine, plainLine } = await import("../terminal/plain-text.ts");
  if (options.json) {
    process.stdout.write(jsonLine(json));
    return;
  }
  const { styled, table } = await import("../terminal/table.ts");
  const shown = (value: unknown) => plainLine(JSON.stringify(value));
  process.stdout.write(
    table(
      ["SETTING", "VALUE", "DEFAULT", "WHAT"],
      settings.map(({ key, value, default: byDefault, isSet, problem, description }) => [
        key,
        isSet && problem === null ? styled("cyan", shown(value)) : shown(value),
        shown(byDefault),
        plainLine(problem === null ? description : `${description} (what was set is refused: ${problem})`),
      ]),
    ),
  );
}
