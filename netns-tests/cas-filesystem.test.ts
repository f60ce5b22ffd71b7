import { join } from "node:path";
import { expect } from "vitest";
import { run } from "./harness/command.ts";
import { Control } from "./harness/control.ts";
import { fioVerify, keepFileSystem } from "./harness/jobs.ts";
import { expectServerTap, type PortKind } from "./harness/network.ts";
import { scenario } from "./harness/scenario.ts";
import { chooseSeed } from "./harness/seed.ts";
import { sumOf } from "./harness/sum.ts";

const DISK_BYTES = 96 * 2 ** 20;
/** mkfs.xfs makes none that is smaller. */
const XFS_BYTES = 320 * 2 ** 20;
const beyond = { vblade: "it has files and devices only" };

ext4KeepsItsData("packet", 1500);
ext4KeepsItsData("tap", 9000);

function ext4KeepsItsData(port: PortKind, mtuBytes: number): void {
  scenario(`ext4 on a volume, ${port} port, MTU ${mtuBytes}`, { beyond }, async (lab) => {
    const path = join(lab.folder, "store");
    const segment = lab.segment({ mtuBytes, port });
    const target = { shelf: 1, slot: 0, backend: "cas", path, sizeBytes: DISK_BYTES } as const;
    const server = await lab.server([segment], [target]);
    if (port === "tap") expectServerTap(segment);
    const client = await lab.client([segment]);
    await client.run("wait_for_disk e1.0");
    lab.note("discovered");
    expect(await client.run("blockdev --getsize64 /dev/etherd/e1.0")).toBe(String(DISK_BYTES));

    const written = await keepFileSystem(client, "e1.0");
    lab.note("64 MiB written and read back");

    const whole = await client.run("drop_caches; sum_of /dev/etherd/e1.0");
    const image = join(lab.folder, "export.img");
    const control = new Control(server.controlSocket);
    await control.run("export", { volume: "e1.0", path: image });
    expect(await sumOf(image)).toBe(whole);
    // The content by tools that know neither AoE nor the client.
    await run(["fsck.ext4", "-fn", image]);
    const dump = `debugfs -R 'cat /data' ${image} 2>/dev/null | sha256sum`;
    expect((await run(["sh", "-c", dump])).slice(0, 64)).toBe(written);
    lab.note("the exported image agrees");

    await server.terminate();
    await server.start();
    expect(await client.run("drop_caches; sum_of /dev/etherd/e1.0")).toBe(whole);
    lab.note("after a restart the disk is the same");
  });
}

scenario("XFS on a volume", { beyond }, async (lab) => {
  const path = join(lab.folder, "store");
  const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
  const target = { shelf: 1, slot: 0, backend: "cas", path, sizeBytes: XFS_BYTES } as const;
  await lab.server([segment], [target]);
  const client = await lab.client([segment]);
  await client.run(`
    wait_for_disk e1.0
    mkfs.xfs -q -f /dev/etherd/e1.0
    mount /dev/etherd/e1.0 disk
    mkdir disk/many
    for number in $(seq 200); do
      dd if=/dev/urandom of=disk/many/$number bs=1000 count=$((number / 2 + 1)) status=none
    done
    dd if=/dev/urandom of=disk/large bs=1M count=24 conv=fsync status=none
    (cd disk; find . -type f | sort | xargs sha256sum) >sums
    umount disk
    drop_caches
    mount /dev/etherd/e1.0 disk
    (cd disk; sha256sum --check --quiet ../sums)
    find disk/many -name '*7' -delete
    umount disk
    drop_caches
    xfs_repair -n /dev/etherd/e1.0 >repair.log 2>&1 || { cat repair.log; exit 1; }
    mount /dev/etherd/e1.0 disk
    grep -v 'many/.*7$' sums >left
    (cd disk; sha256sum --check --quiet ../left)
    umount disk`);
  lab.note(
    "the files are right, before and after some were deleted; xfs_repair finds nothing wrong",
  );
});

scenario("fio verifies random sizes on a volume", { beyond }, async (lab) => {
  const path = join(lab.folder, "store");
  const segment = lab.segment({ mtuBytes: 1500, port: "packet" });
  const target = { shelf: 1, slot: 0, backend: "cas", path, sizeBytes: DISK_BYTES } as const;
  const server = await lab.server([segment], [target]);
  const client = await lab.client([segment]);
  await client.run("wait_for_disk e1.0");
  const seed = chooseSeed();
  lab.note(`discovered; fio with seed ${seed}`);
  await client.run(fioVerify({ disk: "e1.0", sizeMiB: 32, seed, loops: 2 }));
  const image = join(lab.folder, "export.img");
  await new Control(server.controlSocket).run("export", { volume: "e1.0", path: image });
  expect(await client.run("drop_caches; sum_of /dev/etherd/e1.0")).toBe(await sumOf(image));
  lab.note("verified, and the exported image agrees");
});
