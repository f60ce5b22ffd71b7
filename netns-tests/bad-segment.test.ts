import { expect } from "vitest";
import { fioVerify, keepFileSystem } from "./harness/jobs.ts";
import { scenario } from "./harness/scenario.ts";
import { chooseSeed } from "./harness/seed.ts";
import { sumOf } from "./harness/sum.ts";

interface RelayCounts {
  forwarded: number;
  lost: number;
  duplicated: number;
  overtaken: number;
}

for (const { mtuBytes, sizeMiB } of [
  { mtuBytes: 1500, sizeMiB: 8 },
  { mtuBytes: 9000, sizeMiB: 16 },
]) {
  scenario(
    `the segment loses, duplicates and reorders frames, MTU ${mtuBytes}`,
    {},
    async (lab) => {
      const path = lab.image("disk.img", 32 * 2 ** 20);
      const seed = chooseSeed();
      const relay = { seed, lossPerMille: 10, duplicatePerMille: 10, reorderPerMille: 20 };
      const segment = lab.segment({ mtuBytes, port: "packet", relay });
      await lab.server([segment], [{ shelf: 1, slot: 0, backend: "file", path }]);
      const client = await lab.client([segment]);
      // The first query may be among the lost; the driver itself asks again only after a minute.
      await client.run(`
      wait_for_disk e1.0 2 || { echo >/dev/etherd/discover; wait_for_disk e1.0 2; } ||
        { echo >/dev/etherd/discover; wait_for_disk e1.0; }`);
      lab.note(`discovered; the relay's seed is ${seed}`);
      // A lost frame stops the driver for 100 ms and more, so this takes its time.
      await keepFileSystem(client, "e1.0", sizeMiB);
      lab.note("a file written and read back");
      await client.run(fioVerify({ disk: "e1.0", sizeMiB: 4, seed }));
      lab.note("fio verified");
      expect(await client.run("drop_caches; sum_of /dev/etherd/e1.0")).toBe(await sumOf(path));

      segment.relay?.signal("SIGTERM");
      await segment.relay?.end(60_000);
      const counts = (segment.relay?.log ?? "").trim().split("\n");
      expect(counts).toHaveLength(2);
      for (const line of counts) {
        const { lost, duplicated, overtaken, forwarded } = JSON.parse(line) as RelayCounts;
        for (const faults of [lost, duplicated, overtaken]) {
          expect(faults).toBeGreaterThan(forwarded / 500);
        }
        lab.note(line);
      }
    },
  );
}
