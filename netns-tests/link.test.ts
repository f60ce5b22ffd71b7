import { expect } from "vitest";
import type { Client } from "./harness/client.ts";
import { delay } from "./harness/command.ts";
import { fioVerifyUntilTold, tellEnough } from "./harness/jobs.ts";
import type { Lab } from "./harness/lab.ts";
import {
  expectServerXdp,
  type PortKind,
  replugServer,
  type Segment,
  unplugServer,
} from "./harness/network.ts";
import { scenario } from "./harness/scenario.ts";
import { chooseSeed } from "./harness/seed.ts";

const DISK_BYTES = 64 * 2 ** 20;
const DOWN_MS = 1500;

/** vblade ends when its interface is down. */
const beyond = { vblade: "it does not outlive its interface" };

for (const port of ["packet", "xdp"] as const) {
  scenario(`the server's interface goes down and up, ${port} port`, { beyond }, (lab) =>
    verifyWhile(lab, port, async ({ server, serverInterface }) => {
      server.ip("link", "set", serverInterface, "down");
      await delay(DOWN_MS);
      server.ip("link", "set", serverInterface, "up");
    }),
  );

  scenario(`the server's interface is taken away and comes back, ${port} port`, { beyond }, (lab) =>
    verifyWhile(lab, port, async (segment) => {
      unplugServer(segment);
      await delay(DOWN_MS);
      replugServer(segment);
    }),
  );
}

/** fio writes and verifies while something happens to the segment, twice. */
async function verifyWhile(
  lab: Lab,
  port: PortKind,
  disturb: (segment: Segment) => Promise<void>,
): Promise<void> {
  const path = lab.image("disk.img", DISK_BYTES);
  const segment = lab.segment({ mtuBytes: 1500, port });
  const server = await lab.server([segment], [{ shelf: 1, slot: 0, backend: "file", path }]);
  const client = await lab.client([segment]);
  await client.run("wait_for_disk e1.0");
  const seed = chooseSeed();
  lab.note(`discovered; fio with seed ${seed}`);
  const verifying = client.start(fioVerifyUntilTold({ disk: "e1.0", sizeMiB: 16, seed }));
  for (let round = 0; round < 2; round += 1) {
    await delay(1000);
    await disturb(segment);
    server.assertRunning();
    lab.note("the interface was away and is back");
  }
  if (port === "xdp") expectServerXdp(segment);
  tellEnough(client);
  await verifying.finish();
}

const mute = { vblade: "it announces itself once, when it starts" };

for (const port of ["packet", "xdp"] as const) {
  scenario(`the MTU changes under a mounted disk, ${port} port`, { beyond: mute }, (lab) =>
    changeMtu(lab, port),
  );
}

async function changeMtu(lab: Lab, port: PortKind): Promise<void> {
  const path = lab.image("disk.img", DISK_BYTES);
  const segment = lab.segment({ mtuBytes: 9000, port });
  await lab.server([segment], [{ shelf: 1, slot: 0, backend: "file", path }]);
  const client = await lab.client([segment]);
  await client.run(`
    wait_for_disk e1.0
    mkfs.ext4 -q -F /dev/etherd/e1.0
    mount /dev/etherd/e1.0 disk`);
  expect(await client.run("state_of e1.0 payload")).toBe("8192");
  const sums: string[] = [];
  for (const [mtuBytes, payloadBytes] of [
    [1500, 1024],
    [4200, 4096],
    [9000, 8192],
  ]) {
    segment.server.ip("link", "set", segment.serverInterface, "mtu", String(mtuBytes));
    // The server's beacon tells the driver at once; were all three lost, its own next query would.
    await waitForPayload(client, payloadBytes);
    sums.push(
      await client.run(`
        dd if=/dev/urandom of=disk/${mtuBytes} bs=1M count=8 conv=fsync status=none
        sum_of disk/${mtuBytes}`),
    );
    lab.note(`MTU ${mtuBytes}: frames of ${payloadBytes} octets`);
  }
  const read = await client.run(`
    umount disk
    drop_caches
    mount /dev/etherd/e1.0 disk
    for mtu in 1500 4200 9000; do sum_of disk/$mtu; done
    umount disk
    fsck.ext4 -fn /dev/etherd/e1.0 >fsck.log 2>&1 || { cat fsck.log; exit 1; }`);
  expect(read.split("\n")).toEqual(sums);
}

async function waitForPayload(client: Client, payloadBytes: number): Promise<void> {
  await client.run(`
    for try in $(seq 900); do
      [ "$(state_of e1.0 payload)" = ${payloadBytes} ] && exit 0
      sleep 0.1
    done
    echo "the payload is still $(state_of e1.0 payload)"
    exit 1`);
}
