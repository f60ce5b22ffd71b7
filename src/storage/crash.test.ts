import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { SECTOR_BYTES } from "./block-storage.ts";
import { TestMedia } from "./block-storage.testing.ts";

const SECTORS = 1000;
const ACKNOWLEDGED = 2000;

const media = new TestMedia();
afterEach(() => media.dispose());

function module(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/**
 * The page cache outlives the process, so this shows that nothing is acknowledged before it has
 * been handed to the kernel; that the fdatasync comes before too is shown by `statistics.syncs`.
 */
test("what was acknowledged is in the file after the server was killed", async () => {
  const path = media.image(SECTORS * SECTOR_BYTES);
  const child = spawn(process.execPath, [module("crash.testing.ts"), path, String(SECTORS)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8");
  const ended = new Promise((resolve) => {
    child.stdout.once("close", resolve);
  });
  let lines = 0;
  child.stdout.on("data", (text: string) => {
    output += text;
    lines += text.split("\n").length - 1;
    if (lines >= ACKNOWLEDGED) child.kill("SIGKILL");
  });
  await ended;
  expect(lines).toBeGreaterThanOrEqual(ACKNOWLEDGED);

  const content = readFileSync(path);
  const acknowledged = new Map<number, number>();
  for (const line of output.split("\n").slice(0, lines)) {
    const [lba, value] = line.split(" ").map(Number);
    acknowledged.set(lba, value);
  }
  expect(acknowledged.size).toBe(SECTORS);
  for (const [lba, value] of acknowledged) {
    const sector = content.subarray(lba * SECTOR_BYTES, (lba + 1) * SECTOR_BYTES);
    expect(
      sector.every((octet) => octet === sector[0]),
      `sector ${lba} is torn`,
    ).toBe(true);
    // A write that was not acknowledged yet may have come after: at most the next turn's.
    const next = 1 + ((value - 1 + SECTORS) % 255);
    expect([value, next], `sector ${lba}`).toContain(sector[0]);
  }
});

test("a process ends by itself when its storage is closed, and while it is idle", () => {
  const path = media.image(SECTORS * SECTOR_BYTES);
  for (const close of ["await storage.close();", ""]) {
    const code = `
      const { FrameArena } = await import(${JSON.stringify(module("../arena/frame-arena.ts"))});
      const { openFileStorage } = await import(${JSON.stringify(module("file-storage.ts"))});
      const path = ${JSON.stringify(path)};
      const storage = await openFileStorage({ path, durability: "writeback" }, new FrameArena(8));
      ${close}
      console.log("end of the program");`;
    const output = execFileSync(process.execPath, ["--input-type=module", "-e", code], {
      encoding: "utf8",
      timeout: 100_000,
    });
    expect(output).toBe("end of the program\n");
  }
});

test("a write beyond the limit of the process is a fault of that write", () => {
  const path = media.image(SECTORS * SECTOR_BYTES);
  const code = `
    const { testArena, TestDisk, finish } = await import(
      ${JSON.stringify(module("block-storage.testing.ts"))});
    const { openFileStorage } = await import(${JSON.stringify(module("file-storage.ts"))});
    const arena = testArena();
    for (const durability of ["durable", "writeback"]) {
      const storage = await openFileStorage({ path: ${JSON.stringify(path)}, durability }, arena);
      const disk = new TestDisk(storage, arena);
      console.log(...(await finish(disk, [disk.write(0, 8, 1), disk.write(500, 8, 2)])));
      await storage.close();
    }`;
  // ulimit -f counts in units of 512 or 1024 bytes, depending on the shell.
  const script = 'ulimit -f 200; exec "$0" --input-type=module -e "$1"';
  const output = execFileSync("sh", ["-c", script, process.execPath, code], { encoding: "utf8" });
  expect(output).toBe("0 2\n0 2\n");
});

test("threads end with the worker that used them", () => {
  const path = media.image(SECTORS * SECTOR_BYTES);
  const code = `
    import { Worker, isMainThread } from "node:worker_threads";
    if (isMainThread) {
      // ffi-rs must not be unloaded with the worker: its threads' data would be cleared too late.
      await import(${JSON.stringify(module("../system/libc.ts"))});
      const worker = new Worker(process.argv[1]);
      worker.once("exit", () => console.log("worker ended"));
      setTimeout(() => worker.terminate(), 300);
    } else {
      const { testArena, TestDisk } = await import(
        ${JSON.stringify(module("block-storage.testing.ts"))});
      const { openFileStorage } = await import(${JSON.stringify(module("file-storage.ts"))});
      const arena = testArena();
      const storage = await openFileStorage({ path: ${JSON.stringify(path)} }, arena);
      const disk = new TestDisk(storage, arena);
      const next = (write) => {
        write.onCompleted = next;
        storage.write(write);
        setImmediate(() => storage.submit());
      };
      for (let index = 0; index < 32; index++) next(disk.write(index * 8, 8, index));
    }`;
  const file = `${media.folder()}/worker.mjs`;
  execFileSync("sh", ["-c", 'printf %s "$1" > "$0"', file, code]);
  const output = execFileSync(process.execPath, [file], { encoding: "utf8", timeout: 100_000 });
  expect(output).toBe("worker ended\n");
});
