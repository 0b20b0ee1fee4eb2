// Whether an agent that speaks ACP can be used where instances are: it has to answer a greeting there.
import type { Probe } from "../runner.ts";
import type { AcpAgent } from "./driver.ts";
import { GREETING_MS } from "./greet.ts";
import { Hello } from "./session.ts";

export async function probeAcp({ argv, env, version: wanted, greet }: AcpAgent): Promise<Probe> {
  const [program = ""] = argv;
  const answer = await greet(argv, env);
  if (typeof answer === "string") return { ok: false, reason: `${program}: ${answer}` };
  if (!answer.ok)
    return {
      ok: false,
      reason: `${program}: ${answer.error?.message ?? `no greeting within ${GREETING_MS / 1_000} s`}`,
    };
  const hello = Hello.safeParse(answer.result);
  if (!hello.success) return { ok: false, reason: `${program} does not speak version 1 of ACP` };
  const version = hello.data.agentInfo?.version ?? "unknown";
  if (wanted !== undefined && version !== wanted)
    return { ok: false, reason: `${program} is ${version}; version = "${wanted}" is wanted` };
  return { ok: true, version };
}
