import { expect } from "vitest";
import { askAoed } from "./harness/aoed-command.ts";
import { delay } from "./harness/command.ts";
import { tellEnough } from "./harness/jobs.ts";
import { scenario } from "./harness/scenario.ts";

const MIB = 2 ** 20;
const beyond = { vblade: "it cannot be changed while it runs" };
/** The driver itself gives up after 180 s without an answer. */
const FAILS_WITHIN_MS = 120_000;

scenario(
  "a disk in use grows, changes and goes; the other one is not disturbed",
  { beyond, diskErrors: true },
  async (lab) => {
    const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
    const server = await lab.server(
      [segment],
      [
        { shelf: 1, slot: 0, backend: "file", path: lab.image("kept.img", 64 * MIB) },
        { shelf: 1, slot: 1, backend: "file", path: lab.image("changed.img", 32 * MIB) },
      ],
    );
    const client = await lab.client([segment]);
    await client.run("wait_for_disk e1.0; wait_for_disk e1.1");
    const kept = client.start(`
    mkfs.ext4 -q -F /dev/etherd/e1.0
    mount /dev/etherd/e1.0 disk
    number=0
    until [ -e "$EXCHANGE/enough" ]; do
      number=$((number + 1))
      dd if=/dev/urandom of=disk/$((number % 10)) bs=256k count=1 conv=fsync status=none
    done
    umount disk
    fsck.ext4 -fn /dev/etherd/e1.0
    echo "$number files"`);

    await askAoed(server, "target", "resize", "1.1", "48MiB");
    await client.run(`
    tries=2400
    until [ "$(blockdev --getsize64 /dev/etherd/e1.1)" = ${48 * MIB} ]; do
      tries=$((tries - 1)); [ $tries -gt 0 ]; sleep 0.05
    done
    dd if=/dev/zero of=/dev/etherd/e1.1 bs=1M seek=40 count=4 oflag=direct status=none`);
    lab.note("the client has seen the new size, and writes beyond the old one");

    await askAoed(server, "target", "add", "1.2", "--memory", "--size", "8MiB");
    await client.run("wait_for_disk e1.2; dd if=/dev/etherd/e1.2 of=/dev/null bs=1M status=none");
    lab.note("a disk that was added while running has been found and read");

    const writer = client.start(`
    while dd if=/dev/zero of=/dev/etherd/e1.1 bs=1M count=16 oflag=direct status=none; do :; done
    echo failed`);
    await delay(500);
    await askAoed(server, "target", "set", "1.1", "durability=writeback");
    await delay(500);
    expect(writer.status, "a change under way is a pause, no error").toBeUndefined();
    lab.note("the durability was changed under a writer");
    const removedAt = Date.now();
    await askAoed(server, "target", "remove", "1.1");
    expect(await writer.finish(FAILS_WITHIN_MS)).toContain("failed");
    lab.note(`removed: its writer had an I/O error ${Date.now() - removedAt} ms later`);

    tellEnough(client);
    lab.note(`the other disk is whole: ${(await kept.finish()).split("\n").at(-1)}`);
  },
);
