import { randomFillSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { expect } from "vitest";
import { fioVerify, keepFileSystem } from "./harness/jobs.ts";
import { scenario } from "./harness/scenario.ts";
import { sumOf } from "./harness/sum.ts";

const DISK_BYTES = 96 * 2 ** 20;

scenario("two targets at once, one of them read-only", { diskErrors: true }, async (lab) => {
  const writable = lab.image("writable.img", DISK_BYTES);
  const fixed = lab.image("fixed.img", 0);
  writeFileSync(fixed, randomFillSync(Buffer.alloc(32 * 2 ** 20)));
  const sumBefore = await sumOf(fixed);
  const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
  await lab.server(
    [segment],
    [
      { shelf: 1, slot: 0, backend: "file", path: writable },
      { shelf: 70, slot: 5, backend: "file", path: fixed, readOnly: true },
    ],
  );
  const client = await lab.client([segment]);
  await client.run("wait_for_disk e1.0; wait_for_disk e70.5");
  lab.note("both discovered");

  const reader = client.start(`
    for round in 1 2 3 4; do
      drop_caches
      sum_of /dev/etherd/e70.5
    done`);
  await keepFileSystem(client, "e1.0");
  const sums = await reader.finish();
  expect(sums.split("\n")).toEqual([sumBefore, sumBefore, sumBefore, sumBefore]);
  lab.note("one was written while the other was read");

  // The disk's own refusal, not the client's: the driver knows no read-only disk.
  const refused = await client.run(`
    dd if=/dev/zero of=/dev/etherd/e70.5 bs=4096 count=1 oflag=direct 2>&1 && exit 1
    state_of e70.5 state`);
  expect(refused).toMatch(/error|not permitted/i);
  expect(refused.split("\n").at(-1)).toBe("up");
  expect(await client.run("drop_caches; sum_of /dev/etherd/e70.5")).toBe(sumBefore);
  expect(await sumOf(fixed)).toBe(sumBefore);
  lab.note("a write to the read-only one was refused");
});

scenario("two interfaces to one target", {}, async (lab) => {
  const path = lab.image("disk.img", DISK_BYTES);
  const segments = [
    lab.segment({ mtuBytes: 1500, port: "packet" }),
    lab.segment({ mtuBytes: 1500, port: "packet" }),
  ];
  await lab.server(segments, [{ shelf: 1, slot: 0, backend: "file", path }]);
  const client = await lab.client(segments);
  const netif = await client.run(`
    wait_for_disk e1.0
    for try in $(seq 900); do
      case "$(state_of e1.0 netif)" in *[,[:space:]]*) break ;; esac
      sleep 0.1
    done
    state_of e1.0 netif`);
  expect(netif.split(/[,\s]+/).toSorted()).toEqual(client.interfaces.toSorted());
  lab.note("the driver has two paths");

  await keepFileSystem(client, "e1.0");
  await client.run(fioVerify({ disk: "e1.0", sizeMiB: 24, seed: 1 }));
  // The driver takes the paths in turn for the frames of one request, so neither may be idle.
  const frames = await client.run(
    client.interfaces.map((name) => `cat /sys/class/net/${name}/statistics/rx_packets`).join("\n"),
  );
  const [first = 0, second = 0] = frames.split("\n").map(Number);
  expect(Math.min(first, second)).toBeGreaterThan(Math.max(first, second) / 4);
  expect(await client.run("drop_caches; sum_of /dev/etherd/e1.0")).toBe(await sumOf(path));
  lab.note(`the data is right over ${first} and ${second} frames`);
});
