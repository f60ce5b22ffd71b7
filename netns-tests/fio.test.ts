import { expect } from "vitest";
import { fioVerify } from "./harness/jobs.ts";
import { scenario } from "./harness/scenario.ts";
import { chooseSeed } from "./harness/seed.ts";
import { sumOf } from "./harness/sum.ts";

const DISK_BYTES = 96 * 2 ** 20;

for (const { mtuBytes, port, backend } of [
  { mtuBytes: 1500, port: "packet", backend: "file" },
  { mtuBytes: 9000, port: "tap", backend: "device" },
  { mtuBytes: 9000, port: "xdp", backend: "file" },
] as const) {
  scenario(`fio verifies random sizes, ${backend}, ${port}, MTU ${mtuBytes}`, {}, async (lab) => {
    const path = await lab.disk(backend, "disk.img", DISK_BYTES);
    const segment = lab.segment({ mtuBytes, port });
    await lab.server([segment], [{ shelf: 1, slot: 0, backend, path }]);
    const client = await lab.client([segment]);
    await client.run("wait_for_disk e1.0");
    const seed = chooseSeed();
    lab.note(`discovered; fio with seed ${seed}`);
    await client.run(fioVerify({ disk: "e1.0", sizeMiB: 64, seed, loops: 2 }));
    expect(await client.run("drop_caches; sum_of /dev/etherd/e1.0")).toBe(await sumOf(path));
    lab.note("verified, and the image agrees");
  });
}
