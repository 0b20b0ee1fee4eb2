// A subject's template, from which its builder, its parser and its wildcard are derived. Nobody types a
// subject string twice: what is not made here is not a subject of the mesh.

type ParameterNames<Template extends string> = Template extends `${string}{${infer Name}}${infer Rest}`
  ? Name | ParameterNames<Rest>
  : never;

export interface Subject<Names extends string> {
  readonly template: string;
  /** The subject with every parameter filled in. Throws on a value that is no single token: that is a bug. */
  build(parameters: Record<Names, string>): string;
  /** The parameters of a concrete subject, or null when it is not of this template. */
  parse(subject: string): Record<Names, string> | null;
  /** A subscription: the given parameters fixed, `*` for the others. */
  wildcard(fixed?: Partial<Record<Names, string>>): string;
}

const TOKEN = /^[a-zA-Z0-9_-]+$/;

/** `subject("mesh.host.{hostId}.heartbeat")`; parameters are whole tokens of letters, digits, `-` and `_`. */
export function subject<const Template extends string>(
  template: Template,
): Subject<ParameterNames<Template>> {
  const tokens = template.split(".");
  const names = tokens.map((token) => (token.startsWith("{") ? token.slice(1, -1) : null));

  const fill = (parameters: Partial<Record<string, string>>, missing: (name: string) => string) =>
    tokens
      .map((token, index) => {
        const name = names[index];
        if (name === null || name === undefined) return token;
        const value = parameters[name];
        if (value === undefined) return missing(name);
        if (!TOKEN.test(value))
          throw new Error(`"${value}" is no subject token, for {${name}} of ${template}`);
        return value;
      })
      .join(".");

  return {
    template,
    build: (parameters) =>
      fill(parameters, (name) => {
        throw new Error(`{${name}} of ${template} is missing`);
      }),
    wildcard: (fixed = {}) => fill(fixed, () => "*"),
    parse(subject) {
      const parts = subject.split(".");
      if (parts.length !== tokens.length) return null;
      const parameters: Record<string, string> = {};
      for (const [index, part] of parts.entries()) {
        const name = names[index];
        if (name) parameters[name] = part;
        else if (part !== tokens[index]) return null;
      }
      return parameters;
    },
  };
}
