import { expect } from "vitest";
import type { ServerStatus } from "../src/control/control-api.ts";
import { askAoed } from "./harness/aoed-command.ts";
import { delay, until } from "./harness/command.ts";
import { fioVerifyUntilTold, keepFileSystem, tellEnough } from "./harness/jobs.ts";
import { scenario } from "./harness/scenario.ts";

const DISK_BYTES = 96 * 2 ** 20;
/** Long enough for the client to repeat its requests in vain. */
const DOWN_MS = 1000;

for (const workers of [1, 2]) {
  const name = `three targets and a snapshot at once, kill -9 between, with workers = ${workers}`;
  scenario(name, { beyond: { vblade: "it has no volumes" } }, async (lab) => {
    const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
    const server = await lab.server(
      [segment],
      [
        { shelf: 1, slot: 0, backend: "file", path: lab.image("first.img", DISK_BYTES) },
        { shelf: 1, slot: 1, backend: "file", path: lab.image("second.img", DISK_BYTES) },
        {
          shelf: 1,
          slot: 2,
          backend: "cas",
          path: await lab.disk("cas", "", 0),
          sizeBytes: DISK_BYTES,
        },
      ],
      workers,
    );
    const client = await lab.client([segment]);
    await client.run("wait_for_disk e1.0; wait_for_disk e1.1; wait_for_disk e1.2");
    lab.note("all discovered");

    const sums = [];
    const fio = client.start(fioVerifyUntilTold({ disk: "e1.1", sizeMiB: 16, seed: workers }));
    sums.push(await keepFileSystem(client, "e1.0", 24), await keepFileSystem(client, "e1.2", 24));
    await askAoed(server, "snapshot", "create", "1.2");
    lab.note("file systems on two, while fio verifies the third; a snapshot of the volume");

    const before = await askAoed<ServerStatus>(server, "status");
    expect(before.targets.map(({ slot }) => slot)).toEqual([0, 1, 2]);
    expect(before.eventLoops).toHaveLength(workers);
    // No target was asked twice for one request, nor one that another worker has.
    expect(before.exchanges.dropped).toBe(0);
    expect(before.ports[0]?.drops.no_target).toBe(0);

    await server.kill();
    await delay(DOWN_MS);
    await server.start();
    await until(
      "fio to go on",
      async () => {
        const { targets } = await askAoed<ServerStatus>(server, "status");
        return (targets[1]?.statistics.writes ?? 0) > 0;
      },
      { timeoutMs: 240_000 },
    );
    tellEnough(client);
    await fio.finish();
    lab.note("killed and started again: fio found nothing amiss");

    const found = await client.run(`
      drop_caches
      for disk in e1.0 e1.2; do
        mount /dev/etherd/$disk disk
        sum_of disk/data
        umount disk
      done`);
    expect(found.split("\n")).toEqual(sums);
    const snapshots = await askAoed<unknown[]>(server, "snapshot", "list");
    expect(snapshots).toHaveLength(1);
    await server.terminate();
    await server.start();
    lab.note("the file systems are as they were, and the snapshot is there");
  });
}
