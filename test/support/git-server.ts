// Remotes over HTTP on loopback: a real git-http-backend that wants a password, and one that takes connections and
// never says a word. It must hold no expectations.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTcpServer, type Socket } from "node:net";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { vi } from "vitest";

export interface GitServer extends AsyncDisposable {
  url: string;
  /** Status of each answer so far. */
  answers: number[];
}

interface Login {
  user: string;
  password: string;
}

/** Serves bare repositories of the folder to whoever knows the user's password. */
export async function startGitServer(folder: string, { user, password }: Login): Promise<GitServer> {
  const answers: number[] = [];
  const expected = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  const server = createServer((request, response) => {
    response.on("finish", () => answers.push(response.statusCode));
    if (request.headers.authorization !== expected)
      response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
    else void answerWithGit(folder, user, request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${portOf(server)}`,
    answers,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** This machine's user has cloned from there before: until the test unstubs the environment. */
export async function rememberPassword(
  folder: string,
  { url }: { url: string },
  { user, password }: Login,
): Promise<void> {
  const credentials = path.join(folder, "credentials");
  await writeFile(credentials, `${url.replace("://", `://${user}:${password}@`)}\n`, { mode: 0o600 });
  configureGit(folder, `[credential]\n  helper = store --file ${credentials}\n`);
}

/** What this machine's user has in `~/.gitconfig`, likewise. */
export function configureGit(folder: string, text: string): void {
  const file = path.join(folder, "gitconfig");
  writeFileSync(file, text);
  vi.stubEnv("GIT_CONFIG_GLOBAL", file);
}

/** git-http-backend(1) is a CGI program. */
async function answerWithGit(
  folder: string,
  user: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname, search } = new URL(request.url ?? "/", "http://localhost");
  const child = spawn("git", ["http-backend"], {
    env: {
      PATH: process.env.PATH,
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: "1",
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method,
      REMOTE_USER: user,
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
      HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const sent = pipeline(request, child.stdin).catch(() => {});
  const chunks: Buffer[] = [];
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) chunks.push(chunk);
  await sent;
  const whole = Buffer.concat(chunks);
  const headEnd = whole.indexOf("\r\n\r\n");
  for (const line of whole.subarray(0, headEnd).toString().split("\r\n")) {
    const [name = "", value = ""] = line.split(/: (.*)/s);
    if (name === "Status") response.statusCode = Number.parseInt(value, 10);
    else response.setHeader(name, value);
  }
  response.end(whole.subarray(headEnd + 4));
}

/** Takes every connection, and says nothing. `callers` counts those it has had. */
export async function startSilentServer(): Promise<AsyncDisposable & { url: string; callers: () => number }> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    socket.on("error", () => {});
    sockets.add(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${portOf(server)}/acme/shop.git`,
    callers: () => sockets.size,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}

function portOf(server: { address(): unknown }): number {
  return (server.address() as { port: number }).port;
}
