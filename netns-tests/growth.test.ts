import { truncateSync } from "node:fs";
import { expect } from "vitest";
import type { Client } from "./harness/client.ts";
import { run } from "./harness/command.ts";
import { scenario } from "./harness/scenario.ts";

const SMALL_BYTES = 32 * 2 ** 20;
const LARGE_BYTES = 80 * 2 ** 20;
const beyond = { vblade: "it looks at the size once, when it starts" };

scenario("a file grows while its disk is mounted", { beyond }, async (lab) => {
  const path = lab.image("disk.img", SMALL_BYTES);
  const segment = lab.segment({ mtuBytes: 1500, port: "packet" });
  await lab.server([segment], [{ shelf: 1, slot: 0, backend: "file", path }]);
  const client = await lab.client([segment]);
  const sum = await client.run(`
    wait_for_disk e1.0
    mkfs.ext4 -q -F /dev/etherd/e1.0
    mount /dev/etherd/e1.0 disk
    dd if=/dev/urandom of=disk/data bs=1M count=16 conv=fsync status=none
    sum_of disk/data`);
  truncateSync(path, LARGE_BYTES);
  // Time for the server to see it and to tell the client, which takes no notice while it is open.
  expect(await client.run("sleep 6; blockdev --getsize64 /dev/etherd/e1.0")).toBe(
    String(SMALL_BYTES),
  );
  await client.run("umount disk");
  await waitForSize(client, LARGE_BYTES);
  lab.note("the client sees the new size after the unmount");
  const output = await client.run(`
    fsck.ext4 -fy /dev/etherd/e1.0 >fsck.log 2>&1
    resize2fs /dev/etherd/e1.0 >resize.log 2>&1
    mount /dev/etherd/e1.0 disk
    dd if=/dev/urandom of=disk/more bs=1M count=40 conv=fsync status=none
    sum_of disk/data
    umount disk
    fsck.ext4 -fn /dev/etherd/e1.0 >fsck.log 2>&1 || { cat fsck.log; exit 1; }`);
  expect(output).toBe(sum);
});

scenario("a device grows while nobody uses its disk", { beyond }, async (lab) => {
  const path = await lab.loopDevice("disk.img", SMALL_BYTES);
  const segment = lab.segment({ mtuBytes: 9000, port: "tap" });
  await lab.server([segment], [{ shelf: 1, slot: 0, backend: "device", path }]);
  const client = await lab.client([segment]);
  await client.run("wait_for_disk e1.0");
  await waitForSize(client, SMALL_BYTES);
  truncateSync(`${lab.folder}/disk.img`, LARGE_BYTES);
  await run(["losetup", "--set-capacity", path]);
  await waitForSize(client, LARGE_BYTES);
  lab.note("the client sees the new size");
  // The part that is new is there to be used.
  const last = LARGE_BYTES / 4096 - 1;
  await client.run(`
    dd if=/dev/urandom of=block bs=4096 count=1 status=none
    dd if=block of=/dev/etherd/e1.0 bs=4096 seek=${last} oflag=direct status=none
    drop_caches
    dd if=/dev/etherd/e1.0 bs=4096 skip=${last} status=none | cmp - block`);
});

async function waitForSize(client: Client, sizeBytes: number): Promise<void> {
  await client.run(`
    for try in $(seq 900); do
      [ "$(cat /sys/block/etherd!e1.0/size)" = ${sizeBytes / 512} ] && exit 0
      sleep 0.1
    done
    echo "the disk still has $(cat /sys/block/etherd!e1.0/size) sectors"
    exit 1`);
}
