import { existsSync } from "node:fs";
import { expect } from "vitest";
import { keepFileSystem } from "./harness/jobs.ts";
import { expectServerTap } from "./harness/network.ts";
import { scenario } from "./harness/scenario.ts";

const EMBEDDED_DISK_BYTES = 16 * 2 ** 30;
const beyond = { vblade: "it serves nothing unless told" };

for (const port of ["packet", "tap"] as const) {
  const place = port === "packet" ? "a plain interface" : "a bridge";
  scenario(`aoed serve --interface with nothing else, on ${place}`, { beyond }, async (lab) => {
    const segment = lab.segment({ mtuBytes: 1500, port });
    const server = await lab.server([segment], []);
    if (port === "tap") expectServerTap(segment);
    const client = await lab.client([segment]);
    await client.run("wait_for_disk e1.0");
    const size = await client.run("blockdev --getsize64 /dev/etherd/e1.0");
    expect(size).toBe(String(EMBEDDED_DISK_BYTES));
    await keepFileSystem(client, "e1.0", 16);
    // Its data is where the server was started, and is there again after the next start.
    expect(existsSync(`${lab.folder}/aoed-data`)).toBe(true);
    const sum = await client.run(
      "mount /dev/etherd/e1.0 disk; sum_of disk/data; umount disk; drop_caches",
    );
    await server.terminate();
    await server.start();
    expect(await client.run("mount /dev/etherd/e1.0 disk; sum_of disk/data; umount disk")).toBe(
      sum,
    );
  });
}
