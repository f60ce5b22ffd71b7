import { join } from "node:path";
import { expect } from "vitest";
import type { RollbackReport, SnapshotStatus, VolumeStatus } from "../src/control/store-api.ts";
import { askAoed } from "./harness/aoed-command.ts";
import type { Client } from "./harness/client.ts";
import { delay } from "./harness/command.ts";
import type { Lab } from "./harness/lab.ts";
import { scenario } from "./harness/scenario.ts";
import type { Server } from "./harness/server.ts";

const DISK_BYTES = 64 * 2 ** 20;
const DOWN_MS = 300;
const beyond = { vblade: "it has no snapshots" };

scenario("snapshot, rollback and clone of an ext4", { beyond }, async (lab) => {
  await goBackAndBeside(lab, () => Promise.resolve());
});

scenario("the same with kill -9 after every step", { beyond }, async (lab) => {
  await goBackAndBeside(lab, async (server) => {
    await server.kill();
    await delay(DOWN_MS);
    await server.start();
  });
});

/** @param between - called after every step that a crash must not undo */
async function goBackAndBeside(
  lab: Lab,
  between: (server: Server) => Promise<void>,
): Promise<void> {
  const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
  const path = join(lab.folder, "store");
  const target = { shelf: 1, slot: 0, backend: "cas", path, sizeBytes: DISK_BYTES } as const;
  const server = await lab.server([segment], [target]);
  const client = await lab.client([segment]);

  await client.run(`
    wait_for_disk e1.0
    mkfs.ext4 -q -F /dev/etherd/e1.0
    mount /dev/etherd/e1.0 disk
    mkdir disk/many
    for number in $(seq 30); do
      dd if=/dev/urandom of=disk/many/$number bs=3000 count=$number status=none
    done
    dd if=/dev/urandom of=disk/large bs=1M count=8 status=none
    sync
    (cd disk; find . -type f | sort | xargs sha256sum) >before`);
  await between(server);
  // The file system is mounted and used: it is taken as after a power cut.
  const busy = client.start("for count in $(seq 20); do date >disk/busy; sync; done");
  const before = await askAoed<SnapshotStatus>(server, "snapshot", "create", "e1.0", "-d", "good");
  await between(server);
  lab.note(`snapshot ${before.id} of a file system in use`);

  await busy.finish();
  await client.run(`
    rm disk/many/*7 disk/busy
    dd if=/dev/urandom of=disk/large bs=1M count=12 conv=fsync status=none
    dd if=/dev/urandom of=disk/new bs=1M count=4 status=none
    echo changed >disk/many/1
    (cd disk; find . -type f | sort | xargs sha256sum) >after
    umount disk`);
  await between(server);
  const rollback = ["snapshot", "rollback", before.id, "--yes"];
  const { safety } = await askAoed<RollbackReport>(server, ...rollback);
  await between(server);
  await client.run(`${mountedFiles("e1.0", "before")}; [ ! -e disk/new ]; umount disk; ${CHECK}`);
  lab.note("files were changed and deleted, and are there again after a rollback");

  const clone = ["snapshot", "clone", safety.id, "undone"];
  expect(await askAoed<VolumeStatus>(server, ...clone)).toMatchObject({ origin: safety.id });
  await between(server);
  await expectCloneBeside(client, server);
  lab.note("a clone of what was there before the rollback is mounted beside it");

  await askAoed(server, "target", "add", "1.2", "--snapshot", before.id);
  await client.run(`
    wait_for_disk e1.2
    mount -o ro,noload /dev/etherd/e1.2 disk
    [ "$(sum_of disk/large)" = "$(grep ' ./large$' before | cut -d ' ' -f 1)" ]
    umount disk`);
  await expectRecords(server, [before, safety]);
  lab.note("the snapshot is a disk of its own");
}

const CHECK = "fsck.ext4 -fn /dev/etherd/e1.0 >fsck.log 2>&1 || { cat fsck.log; exit 1; }";

/** Mounts a disk on `disk`, and compares its files with a list of sums; "busy" is written meanwhile. */
function mountedFiles(disk: string, sums: string): string {
  return `
    drop_caches
    mount /dev/etherd/${disk} disk
    (cd disk; sha256sum --check --quiet ../${sums})`;
}

/** Both are mounted and written, and neither sees what the other one gets. */
async function expectCloneBeside(client: Client, server: Server): Promise<void> {
  await askAoed(server, "target", "add", "1.1", "--volume", "undone");
  await client.run(`
    wait_for_disk e1.1
    ${mountedFiles("e1.0", "before")}
    mount /dev/etherd/e1.1 disk2
    (cd disk2; sha256sum --check --quiet ../after)
    dd if=/dev/urandom of=disk2/large bs=1M count=4 conv=notrunc,fsync status=none
    dd if=/dev/urandom of=disk/many/1 bs=1000 count=50 conv=fsync status=none
    (cd disk; grep -v ' ./many/1$' ../before | sha256sum --check --quiet)
    (cd disk2; grep -v ' ./large$' ../after | sha256sum --check --quiet)
    umount disk
    umount disk2
    fsck.ext4 -fn /dev/etherd/e1.1 >fsck.log 2>&1 || { cat fsck.log; exit 1; }
    ${CHECK}`);
}

/** The snapshots are as they were when they were taken, and whole. */
async function expectRecords(server: Server, records: readonly SnapshotStatus[]): Promise<void> {
  expect(await askAoed(server, "snapshot", "list")).toEqual(records);
  for (const { id, root_hash: rootHash } of records) {
    expect(await askAoed(server, "verify", id)).toMatchObject({ rootHash, damaged: [] });
  }
}
