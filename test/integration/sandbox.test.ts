// What a hostile attempt can reach of its machine where bubblewrap keeps it in a sandbox, and what becomes of what it
// leaves behind: real processes, a real supervisor, real git.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LOG_HEAD_BYTES, LOG_TAIL_BYTES } from "../../services/host-agent/attempt/log-sink.ts";
import { type AttemptHost, startAttemptHost } from "../support/attempt.ts";
import { untilGone } from "../support/mesh-program.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { hasBubblewrap, isRoot, startSupervisor, WITHOUT_BUBBLEWRAP } from "../support/supervisor.ts";

const SECRET = "a-key-of-this-machine";

let host: AttemptHost;
let repository: Repository;
/** Where the owner keeps keys, and nobody's attempt has any business. */
let keys: string;
beforeAll(async () => {
  repository = makeRepository({ files: { "README.md": "hello\n" } });
  host = await startAttemptHost();
  keys = mkdtempSync(path.join(homedir(), ".mesh-test-ssh-"));
  writeFileSync(path.join(keys, "id_ed25519"), SECRET, { mode: 0o644 });
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  repository[Symbol.dispose]();
  rmSync(keys, { recursive: true, force: true });
});

const logOf = async (taskId: string) => Buffer.concat(await host.artifact(taskId, "log")).toString();

async function printed(script: string): Promise<string> {
  const { taskId, failure } = await host.run(repository, { run: { command: script } });
  const text = await logOf(taskId);
  expect({ failure, text }).toEqual({ failure: null, text });
  return text;
}

describe.skipIf(!hasBubblewrap)("an attempt in a sandbox (needs bubblewrap)", () => {
  it("says that it is in one", () => {
    expect(host.hello.isolation).toBe("sandbox");
  });

  it("finds no key in anybody's home, no data of the host agent, and no other attempt", async () => {
    const secrets = [
      keys,
      homedir(),
      host.folder,
      path.join(host.folder, "attempts"),
      "/tmp/mesh-attempts-*",
    ];
    const script = `for at in ${secrets.join(" ")}; do cat $at/* $at/*/* 2>/dev/null; ls -a $at; done; true`;
    const text = await printed(`${script}; ls -a /root /home /tmp /var /srv/mesh 2>&1; echo looked`);
    expect(text).toContain("looked");
    expect(text).not.toContain(SECRET);
    expect(text).not.toMatch(/\.ssh|\.config|mesh-attempts-\w+:|supervisor/);
    expect(existsSync(path.join(keys, "id_ed25519"))).toBe(true);
  });

  it("reads no file that its machine keeps from ordinary users", async () => {
    expect(await printed("cat /etc/shadow 2>&1; id -u; echo done")).toMatch(/denied\n[1-9]\d*\ndone\n$/);
  });

  it("writes into its tree, its home and its /tmp, and nowhere else", async () => {
    const places = "/ /usr /etc /opt /srv /srv/mesh /var /dev /proc /root /home /run /sys /usr/bin /etc/ssl";
    const text = await printed(
      `for at in ${places}; do (: > $at/hostile) 2>/dev/null && echo wrote $at; done
       for at in . $HOME /tmp /var/tmp /dev/shm; do : > $at/own && echo wrote $at; done`,
    );
    expect(text).toBe("wrote .\nwrote /srv/mesh/home\nwrote /tmp\nwrote /var/tmp\nwrote /dev/shm\n");
    for (const at of ["/", "/usr", "/etc", "/tmp"]) expect(readdirSync(at)).not.toContain("hostile");
    expect(readdirSync("/tmp")).not.toContain("own");
  });

  it("has no power, gets none, and sees no process, device or shared memory but its own", async () => {
    const text = await printed(
      `grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status; (mount -t tmpfs x /mnt; chroot /) 2>/dev/null
       ls /proc | grep -c '^[0-9]'; ls /dev; ls /dev/shm; ipcs -m 2>/dev/null | grep -c 0x; true`,
    );
    expect(text.match(/Cap\w+:\s+0{16}\n/g)).toHaveLength(4);
    expect(text).toMatch(/NoNewPrivs:\s+1\n/);
    expect(text).not.toMatch(/\b(kmsg|mem|vda|sda|kvm|fuse)\b/);
    expect(Number(/^\d+$/m.exec(text)?.[0])).toBeLessThan(8);
  });

  it("is somebody with a name and a home, and may commit, build and run the tools on PATH", async () => {
    const text = await printed(
      `whoami; git -c user.email=x@y commit -q --allow-empty -m x && git log -1 --format=%an; node -p 'require("os").userInfo().homedir'`,
    );
    expect(text).toBe("mesh\nagent-mesh\n/srv/mesh/home\n");
  });

  it("leaves a link out of its tree in the patch as a link, and nothing of what it points to", async () => {
    const script = `ln -s ${keys}/id_ed25519 link; ln -s ${keys} folder; ln -s /etc/passwd up; mkdir d; mv d e
      ln -s ${host.folder} /srv/mesh/home/out; rm -rf .git; ln -s ${keys} .git`;
    const { taskId, failure, result } = await host.run(repository, {
      run: { command: script },
      checks: ["test -L link", "! cat link"],
    });
    expect(failure).toBeNull();
    expect(result?.checks.map(({ verdict }) => verdict)).toEqual(["confirmed", "confirmed"]);
    for (const name of ["patch", "log", "check-2"])
      expect(Buffer.concat(await host.artifact(taskId, name)).toString()).not.toContain(SECRET);
    expect(Buffer.concat(await host.artifact(taskId, "patch")).toString()).toContain("new file mode 120000");
    expect(readFileSync(path.join(keys, "id_ed25519"), "utf8")).toBe(SECRET);
  });

  it("does not meet its neighbour, whose files and processes are its own", async () => {
    const marks = ["one", "two"].map((name) => `${name}-${process.pid}`);
    const ended = await Promise.all(
      marks.map((mark) =>
        host.run(repository, {
          run: {
            command: `echo ${mark} > /tmp/mark; echo ${mark} > $HOME/mark; echo ${mark} > /dev/shm/mark
              sleep 1; cat /tmp/* $HOME/* /dev/shm/*; id -u`,
          },
        }),
      ),
    );
    const texts = await Promise.all(ended.map(({ taskId }) => logOf(taskId)));
    const users = new Set<string>();
    for (const [index, text] of texts.entries()) {
      const [first, second, third, user = ""] = text.trim().split("\n");
      expect([first, second, third]).toEqual([marks[index], marks[index], marks[index]]);
      users.add(user);
    }
    // Without root there is nobody else that it could be.
    if (isRoot) expect(users.size).toBe(2);
  });
});

describe("an attempt that will not end", () => {
  it("by forking for ever ends as resource, in words, and leaves nothing", async ({ skip }) => {
    if (host.hello.limits.processes !== "control-group") skip("this machine gives no limits of processes");
    const { failure } = await host.run(repository, {
      run: { command: "bomb() { bomb | bomb & }; bomb; sleep 600" },
      limits: { processes: 64 },
    });
    expect(failure).toEqual({
      category: "resource",
      message: "the command was ended: it had more processes than it may at once",
    });
  });

  it("for daemons of its own, deaf to all that can be ignored, ends with its command", async () => {
    const sleep = `sleep 95${process.pid}`;
    const daemon = `trap '' TERM HUP INT; (setsid sh -c "trap '' TERM HUP INT; ${sleep}; ${sleep}" &) &`;
    const { failure } = await host.run(repository, { run: { command: `${daemon} echo begun` } });
    expect(failure).toBeNull();
    expect(await untilGone(sleep)).toEqual([]);
  });

  it("its line, of 200 MB, is cut in its log, and told to be", async () => {
    const { taskId, failure } = await host.run(repository, {
      run: { command: "head -c 200000000 /dev/zero | tr '\\0' a" },
    });
    expect(failure).toBeNull();
    const log = await logOf(taskId);
    expect(log.length).toBeLessThan(LOG_HEAD_BYTES + LOG_TAIL_BYTES + 1_000);
    expect(log).toMatch(/\d+ bytes/);
  });
});

describe.skipIf(!hasBubblewrap)("a supervisor's sandbox (needs bubblewrap)", () => {
  it("shows what the machine's owner names besides, to be read only", async () => {
    const tools = mkdtempSync(path.join(homedir(), ".mesh-test-tools-"));
    try {
      writeFileSync(path.join(tools, "tool"), "#!/bin/sh\necho works\n", { mode: 0o755 });
      chmodSync(tools, 0o755);
      await using supervisor = await startSupervisor({ tools: [tools] });
      const script = `${tools}/tool; ls ${homedir()} | wc -l; touch ${tools}/x || echo refused`;
      const command = supervisor.exec(script, { stretch: await supervisor.lease() });
      expect(await command.finished).toMatchObject({ exitCode: 0 });
      expect(command.stdout()).toBe("works\n0\nrefused\n");
    } finally {
      rmSync(tools, { recursive: true, force: true });
    }
  });

  it("is made by nothing that the command's environment names, which the command alone gets", async () => {
    const folder = mkdtempSync(path.join(homedir(), ".mesh-test-steers-"));
    try {
      chmodSync(folder, 0o755);
      for (const name of ["stat", "chown", "env", "id"])
        writeFileSync(path.join(folder, name), `#!/bin/sh\n: > ${folder}/ran\n`, { mode: 0o755 });
      chmodSync(folder, 0o777);
      await using supervisor = await startSupervisor({ tools: [folder] });
      const env = {
        PATH: `${folder}:/usr/bin:/bin`,
        LD_PRELOAD: `${folder}/none.so`,
        ENV: `${folder}/stat`,
        A: "b=c d",
      };
      const stretch = await supervisor.lease();
      const command = supervisor.exec('echo "$PATH" "$LD_PRELOAD" "$ENV" "$A"', { stretch, env });
      expect(await command.finished).toMatchObject({ exitCode: 0 });
      expect(command.stdout()).toBe(`${env.PATH} ${env.LD_PRELOAD} ${env.ENV} ${env.A}\n`);
      expect(existsSync(path.join(folder, "ran"))).toBe(false);
      // The loader of programs outside would have complained of it too.
      expect(command.stderr().match(/cannot be preloaded/g)?.length ?? 0).toBeLessThanOrEqual(1);
      const odd = supervisor.exec("", { stretch, argv: ["./a=b"], attempt: "b" });
      expect(await odd.finished).toMatchObject({ exitCode: 127 });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("shows a program on PATH in somebody's home with what lies beside it, and not that home", async () => {
    const prefix = mkdtempSync(path.join(homedir(), ".mesh-test-prefix-"));
    try {
      chmodSync(prefix, 0o755);
      for (const name of ["bin", "lib", "config"]) mkdirSync(path.join(prefix, name));
      writeFileSync(path.join(prefix, "lib", "words"), "works\n");
      writeFileSync(path.join(prefix, "config", "token"), SECRET);
      const program = `#!/bin/sh\ncat ${prefix}/lib/words ${prefix}/config/token\n`;
      writeFileSync(path.join(prefix, "bin", "program-at-home"), program, { mode: 0o755 });
      const searchPath = `${prefix}/bin:${process.env.PATH}`;
      await using supervisor = await startSupervisor({ through: ["env", `PATH=${searchPath}`] });
      const stretch = await supervisor.lease();
      const command = supervisor.exec("program-at-home", { stretch, env: { PATH: searchPath } });
      await command.finished;
      expect(command.stdout()).toBe("works\n");
    } finally {
      rmSync(prefix, { recursive: true, force: true });
    }
  });
});

describe.skipIf(!isRoot)("a supervisor on a machine without bubblewrap (hiding it takes root)", () => {
  it("runs attempts as well, and says that they are in no sandbox", async () => {
    await using supervisor = await startSupervisor({ through: WITHOUT_BUBBLEWRAP });
    expect(supervisor.link.hello.isolation).not.toBe("sandbox");
    const command = supervisor.exec("echo works", { stretch: await supervisor.lease() });
    expect(await command.finished).toMatchObject({ exitCode: 0 });
  });
});
