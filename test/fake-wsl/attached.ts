// The Windows end of a command that runs inside: three pipes, copied byte for byte. It ends with the command itself,
// whoever else may hold the pipes; when it is killed, the pipes end, and its line to the service.
import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Answer, ask, type Request } from "./service-line.ts";

const CHUNK_BYTES = 65_536;
const { O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants;

/** How it ended, or the error instead of a beginning. */
export async function runAttached(
  service: Socket,
  request: Omit<Extract<Request, { op: "run" }>, "pipes">,
): Promise<{ exit: number } | { error: string; message?: string }> {
  const folder = mkdtempSync(path.join(tmpdir(), "fake-wsl-pipes-"));
  const files = {
    stdin: path.join(folder, "stdin"),
    stdout: path.join(folder, "stdout"),
    stderr: path.join(folder, "stderr"),
  };
  let answers: AsyncIterator<Answer>;
  let first: Answer;
  let out: number[];
  let toChild: number;
  try {
    execFileSync("mkfifo", ["-m", "600", ...Object.values(files)]);
    out = [openSync(files.stdout, O_RDONLY | O_NONBLOCK), openSync(files.stderr, O_RDONLY | O_NONBLOCK)];
    // Somebody has to be at the other end of a pipe before it can be opened.
    const holding = openSync(files.stdin, O_RDWR | O_NONBLOCK);
    answers = ask(service, { ...request, pipes: folder });
    first = (await answers.next()).value ?? { exit: 1 };
    if (!("started" in first)) return first as { exit: number } | { error: string };
    toChild = openSync(files.stdin, O_WRONLY | O_NONBLOCK);
    closeSync(holding);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const relayed = out.map((fd, index) => relayOutput(fd, index === 0 ? process.stdout : process.stderr));
  const refused = relayInput(toChild);
  const last = answers.next().then(({ value }) => (value && "exit" in value ? value.exit : 1));
  const exit = await Promise.race([last, refused]);
  for (const drain of relayed) await drain();
  return { exit };
}

/** Resolves, to the exit code of a relay that gives up, when the command takes no more of what is written to it. */
function relayInput(fd: number): Promise<number> {
  const pipe = new Socket({ fd, readable: false, writable: true });
  return new Promise((resolve) => {
    pipe.once("error", () => resolve(1));
    process.stdin.on("error", () => pipe.end());
    process.stdin.pipe(pipe);
  });
}

/** Copies until it is told to take what is left in the pipe, and no more. */
function relayOutput(fd: number, to: NodeJS.WriteStream): () => Promise<void> {
  const pipe = new Socket({ fd, readable: true, writable: false });
  let ended = false;
  to.on("error", () => pipe.destroy());
  pipe
    .on("error", () => {})
    .once("close", () => {
      ended = true;
    });
  pipe.pipe(to, { end: false });
  return async () => {
    pipe.unpipe(to);
    pipe.pause();
    const last: Buffer[] = [];
    for (let chunk = pipe.read() as Buffer | null; chunk; chunk = pipe.read() as Buffer | null)
      last.push(chunk);
    while (!ended) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      const bytes = readNow(fd, chunk);
      if (bytes === 0) break;
      last.push(chunk.subarray(0, bytes));
    }
    pipe.destroy();
    await new Promise<void>((done) => to.write(Buffer.concat(last), () => done()));
  };
}

function readNow(fd: number, chunk: Buffer): number {
  try {
    return readSync(fd, chunk);
  } catch {
    // Nothing in it at the moment.
    return 0;
  }
}
