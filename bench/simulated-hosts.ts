// A thousand hosts in one process, as the bus sees them: a heartbeat a second from each, and attempts that begin and
// succeed at once, under the guard. `bench.hosts.open` says how many of them have room; `bench.hosts.began` tells of
// every attempt.
import { jetstream } from "@nats-io/jetstream";
import { connect } from "nats";
import { connectionTarget } from "../shared/bus/connect.ts";
import { type FactBody, type FactKind, factSubject, taskSubjects } from "../shared/contracts/fact.ts";
import { heartbeatSubject } from "../shared/contracts/heartbeat.ts";
import { orderSubject, type RunOrder } from "../shared/contracts/order.ts";
import { heartbeat } from "../test/support/heartbeats.ts";

const HOSTS = 1_000;
const BEATS_MS = 10;
const GIB = 1_073_741_824;
const RESULT = { exitCode: 0, durationMs: 0, phases: {}, checks: [], artifacts: [] };

const connection = await connect({ ...connectionTarget(process.env.NATS_URL ?? ""), noAsyncTraces: true });
const js = jetstream(connection);
let open = 0;
let beats = 0;

connection.subscribe("bench.hosts.open", {
  callback: (_, message) => {
    open = Number(message.string());
    // Whoever asked may rely on it: all of them have said so.
    for (let number = 0; number < HOSTS; number++) beat();
    void connection.flush().then(() => message.respond());
  },
});
connection.subscribe(orderSubject.wildcard({ order: "run" }), {
  callback: (_, message) => {
    const { hostId = "" } = orderSubject.parse(message.subject) ?? {};
    void begin(hostId, message.json<RunOrder>()).then((sequence) =>
      message.respond(
        JSON.stringify(
          sequence === null
            ? { outcome: "refused", reason: "superseded", message: "the log knows more" }
            : { outcome: "started", sequence },
        ),
      ),
    );
  },
});
// As hosts beat: all the time, not all at once.
setInterval(() => {
  for (let number = 0; number < (HOSTS * BEATS_MS) / 1_000; number++) beat();
}, BEATS_MS);
connection.publish("bench.hosts.ready");

function beat(): void {
  const number = beats++ % HOSTS;
  const hostId = `host-${number}`;
  const hasRoom = number < open;
  const said = heartbeat({
    hostId,
    counter: Math.floor(beats / HOSTS) + 1,
    heartbeatMs: 1_000,
    cpu: { cores: 16, busy: 0.1, mhz: 3_000 + (number % 10) * 100 },
    memory: { totalBytes: 64 * GIB, availableBytes: hasRoom ? 60 * GIB : GIB / 4 },
    slots: { total: 8, free: 8 },
    labels: { os: "windows", zone: `z${number % 4}` },
    caches: Array.from({ length: 5 }, (_, clone) => `clone-${(number + clone) % 200}`),
    versions: { node: "24.0.0", git: "2.50.0" },
  });
  connection.publish(heartbeatSubject.build({ hostId }), JSON.stringify(said));
}

async function begin(hostId: string, { taskId, attempt, after }: RunOrder): Promise<number | null> {
  const nonce = `${hostId}-${attempt}`;
  const life = { installation: "i1", boot: 1, counter: Math.floor(beats / HOSTS) };
  const sequence = await say(hostId, taskId, "started", { after, attempt, nonce, ...life });
  if (sequence === null) return null;
  connection.publish("bench.hosts.began");
  void say(hostId, taskId, "succeeded", { after: sequence, attempt, nonce, result: RESULT });
  return sequence;
}

async function say<Kind extends FactKind>(
  speaker: string,
  taskId: string,
  kind: Kind,
  body: FactBody<Kind>,
): Promise<number | null> {
  const expect = { lastSubjectSequence: body.after, lastSubjectSequenceSubject: taskSubjects(taskId) };
  const said = js.publish(factSubject.build({ taskId, kind, speaker }), JSON.stringify(body), { expect });
  return await said.then(({ seq }) => seq).catch(() => null);
}
