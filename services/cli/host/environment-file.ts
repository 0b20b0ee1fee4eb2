// Settings as the lines of a file, in the two dialects that read them: systemd's and Node's. Pure.
import { PlanError } from "./plan.ts";

/** As `EnvironmentFile=` reads it, which is as a shell does. */
export const systemdEnvironment = (variables: Record<string, string>): string =>
  lines(variables, (value) =>
    value.includes("'") ? `"${value.replaceAll(/["\\`$]/g, (character) => `\\${character}`)}"` : `'${value}'`,
  );

/** As Node reads it, which knows no escapes: a value is put into the kind of quotes that it has none of. */
export const nodeEnvironment = (variables: Record<string, string>): string =>
  lines(variables, (value, name) => {
    // Between double quotes, \n is a new line.
    const quote = ["'", "`", ...(value.includes("\\n") ? [] : ['"'])].find((mark) => !value.includes(mark));
    if (quote === undefined)
      throw new PlanError(`${name}: expected a value without all of ', " and \` in it`);
    return `${quote}${value}${quote}`;
  });

function lines(variables: Record<string, string>, quoted: (value: string, name: string) => string): string {
  return Object.entries(variables)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]) => {
      if (/[\u0000-\u001f]/.test(value)) throw new PlanError(`${name}: expected one line of plain text`);
      return `${name}=${quoted(value, name)}\n`;
    })
    .join("");
}
