import { join } from "node:path";
import { expect } from "vitest";
import { runAoed } from "./harness/aoed-command.ts";
import type { Client } from "./harness/client.ts";
import { delay, until } from "./harness/command.ts";
import { fioVerifyUntilTold, tellEnough, writeRecords } from "./harness/jobs.ts";
import type { Lab } from "./harness/lab.ts";
import type { PortKind } from "./harness/network.ts";
import { completedRecords, missingRecords } from "./harness/records.ts";
import { scenario } from "./harness/scenario.ts";
import { chooseSeed } from "./harness/seed.ts";
import type { Server, Target } from "./harness/server.ts";

const RECORDS = 16_000;
const RECORD_BYTES = 4096;
const WRITERS = 16;
/** Long enough for the client to repeat its requests in vain. */
const DOWN_MS = 1000;

for (const { mtuBytes, port, backend } of [
  { mtuBytes: 1500, port: "packet", backend: "file" },
  { mtuBytes: 9000, port: "tap", backend: "device" },
  { mtuBytes: 9000, port: "xdp", backend: "file" },
  { mtuBytes: 9000, port: "packet", backend: "cas" },
] as const) {
  const beyond = backend === "cas" ? { vblade: "it has files and devices only" } : {};
  const name = `kill -9 in the middle of writing, ${backend}, ${port}, MTU ${mtuBytes}`;
  scenario(name, { beyond }, (lab) =>
    stopWhileWriting(lab, { mtuBytes, port, backend }, (server) => server.kill()),
  );
}

scenario("SIGTERM in the middle of writing", {}, (lab) =>
  stopWhileWriting(lab, { mtuBytes: 1500, port: "packet", backend: "file" }, (server) =>
    server.terminate(),
  ),
);

/**
 * Whatever the client has seen completed is on the disk at the moment when the server is gone; when
 * the server is back, the client finishes by itself.
 */
async function stopWhileWriting(
  lab: Lab,
  setting: { mtuBytes: number; port: PortKind; backend: Target["backend"] },
  stop: (server: Server) => Promise<void>,
): Promise<void> {
  const path = await lab.disk(setting.backend, "disk.img", RECORDS * RECORD_BYTES);
  const segment = lab.segment(setting);
  const { backend } = setting;
  const size = backend === "device" ? {} : { sizeBytes: RECORDS * RECORD_BYTES };
  const server = await lab.server([segment], [{ shelf: 1, slot: 0, backend, path, ...size }]);
  const client = await lab.client([segment]);
  await client.run("wait_for_disk e1.0");
  lab.note(`discovered; ${WRITERS} writers begin`);

  const writing = client.start(writeRecords("e1.0", RECORDS, WRITERS));
  for (const share of [0.05, 0.3, 0.6]) {
    await until(
      `${share} of the records to be completed`,
      () => {
        if (writing.status !== undefined) throw new Error(`the writer ended:\n${writing.output}`);
        return completedCount(client) >= share * RECORDS;
      },
      { everyMs: 5, timeoutMs: 240_000 },
    );
    await stop(server);
    // Read after the server's end: what was completed until then must be there without it.
    const completed = completedRecords(client.exchange, WRITERS);
    expect(writing.status, "the writer was still at work").toBeUndefined();
    expect(missingRecords(await imageOf(lab, backend, path), completed)).toEqual([]);
    lab.note(`stopped with ${sum(completed)} records completed, none of them missing`);
    await delay(DOWN_MS);
    await server.start();
  }
  tellEnough(client);
  await writing.finish();
  const completed = completedRecords(client.exchange, WRITERS);
  expect(sum(completed)).toBe(RECORDS);
  await server.terminate();
  expect(missingRecords(await imageOf(lab, backend, path), completed)).toEqual([]);
  await server.start();
  lab.note("the client finished by itself");
}

/** The content of a disk whose server is gone, by its path in the host. */
async function imageOf(lab: Lab, backend: Target["backend"], path: string): Promise<string> {
  if (backend !== "cas") return path;
  const image = join(lab.folder, "export.img");
  await runAoed("export", "e1.0", image, "--from", path, "--overwrite");
  return image;
}

scenario("restarts under a busy mounted file system", {}, async (lab) => {
  const path = lab.image("disk.img", 96 * 2 ** 20);
  const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
  const server = await lab.server([segment], [{ shelf: 1, slot: 0, backend: "file", path }]);
  const client = await lab.client([segment]);
  await client.run(`
    wait_for_disk e1.0
    mkfs.ext4 -q -F /dev/etherd/e1.0
    mount /dev/etherd/e1.0 disk`);
  const writing = client.start(`
    number=0
    until [ -e "$EXCHANGE/enough" ]; do
      number=$((number + 1))
      dd if=/dev/urandom of=disk/$number bs=1M count=1 conv=fsync status=none
      (cd disk; sha256sum $number) >>sums
      [ $number -le 20 ] || rm disk/$((number - 20))
    done`);
  for (const stop of [() => server.kill(), () => server.terminate(), () => server.kill()]) {
    await delay(700);
    await stop();
    await delay(DOWN_MS);
    await server.start();
    lab.note("stopped and started");
  }
  tellEnough(client);
  await writing.finish();
  await client.run(`
    umount disk
    drop_caches
    mount /dev/etherd/e1.0 disk
    tail -n 20 sums >last
    (cd disk; sha256sum --check --quiet ../last)
    umount disk
    fsck.ext4 -fn /dev/etherd/e1.0`);
  lab.note("all files are right and the file system is clean");
});

scenario("fio verifies across restarts", {}, async (lab) => {
  const path = lab.image("disk.img", 96 * 2 ** 20);
  const segment = lab.segment({ mtuBytes: 1500, port: "tap" });
  const server = await lab.server([segment], [{ shelf: 1, slot: 0, backend: "file", path }]);
  const client = await lab.client([segment]);
  await client.run("wait_for_disk e1.0");
  const seed = chooseSeed();
  lab.note(`discovered; fio with seed ${seed}`);
  const verifying = client.start(fioVerifyUntilTold({ disk: "e1.0", sizeMiB: 16, seed }));
  for (let round = 0; round < 3; round += 1) {
    await delay(1000);
    await server.kill();
    await delay(300);
    await server.start();
    lab.note("killed and started");
  }
  tellEnough(client);
  await verifying.finish();
});

function completedCount(client: Client): number {
  return sum(completedRecords(client.exchange, WRITERS));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
