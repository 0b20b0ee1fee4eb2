// `npm run test:vm`: the guest supervisor in a real guest with systemd and control groups of version 2, in one boot.
// Where no guest can be had it says so aloud and passes, unless one is required. Arguments are for node's test runner.
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { execa } from "execa";
import { shellWord } from "../../shared/process/shell-word.ts";
import { EMULATOR, runInGuest } from "./guest.ts";
import { type GuestImage, guestImage } from "./image.ts";

const PROJECT = path.resolve(import.meta.dirname, "../..");
const RUN_MS = 900_000;
/** The supervisor and its tests need no package; they find each other as they do here. */
const TAKEN_ALONG = ["package.json", "services/host-agent", "shared", "test/support", "test/vm"];
const RUN_TESTS =
  "TMPDIR=/project/tmp NODE_COMPILE_CACHE=/project/tmp/compiled ./node --test --test-isolation=none";
const COMMAND = [RUN_TESTS, ...process.argv.slice(2).map(shellWord), "'test/vm/suite/*.test.ts'"].join(" ");

const image = await findImage();
if (typeof image !== "string") process.exitCode = await test(image);
else {
  console.error(`test:vm: NOTHING WAS TESTED, for no guest can be had: ${image}`);
  const isRequired = process.env.MESH_REQUIRE_VM === "1" || Boolean(process.env.CI);
  process.exitCode = isRequired ? 1 : 0;
}

/** In words if there is none. */
async function findImage(): Promise<GuestImage | string> {
  if (process.platform !== "linux" || process.arch !== "x64") return "it takes Linux on x86-64";
  try {
    await execa(EMULATOR, ["--version"]);
    return await guestImage();
  } catch (error) {
    const [why] = (error as Error).message.split("\n");
    return `${why} (it takes Debian's packages qemu-system-x86, mmdebstrap and genext2fs)`;
  }
}

async function test(image: GuestImage): Promise<number> {
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-guest-project-"));
  try {
    await mkdir(path.join(folder, "tmp"));
    for (const name of TAKEN_ALONG)
      await cp(path.join(PROJECT, name), path.join(folder, name), { recursive: true });
    await cp(process.execPath, path.join(folder, "node"));
    return await runInGuest(image, folder, {
      command: COMMAND,
      deadlineMs: RUN_MS,
      onLine: (line) => console.log(line),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
