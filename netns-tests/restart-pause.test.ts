import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { Client } from "./harness/client.ts";
import { until } from "./harness/command.ts";
import { tellEnough } from "./harness/jobs.ts";
import { helperProgram } from "./harness/run-folder.ts";
import { scenario } from "./harness/scenario.ts";
import type { Server } from "./harness/server.ts";

const RESTARTS = 5;
/** Writes of the meter before a restart, so that it falls into the middle, and after it. */
const WRITES_AROUND = 30;
const DISKS = ["e1.0", "e1.1"] as const;

/**
 * How long a restart holds up who writes. How long depends on the machine, so it is printed and not
 * judged; what is judged is that nobody is told of an error and nothing is lost.
 */
scenario("a restart under busy file systems is a pause", { timeoutMs: 900_000 }, async (lab) => {
  const segment = lab.segment({ mtuBytes: 9000, port: "packet" });
  const server = await lab.server(
    [segment],
    [
      { shelf: 1, slot: 0, backend: "file", path: lab.image("disk.img", 96 * 2 ** 20) },
      {
        shelf: 1,
        slot: 1,
        backend: "cas",
        path: join(lab.folder, "store"),
        sizeBytes: 96 * 2 ** 20,
      },
    ],
  );
  const client = await lab.client([segment]);
  const writing = [];
  for (const disk of DISKS) {
    await client.run(`
      wait_for_disk ${disk}
      mkdir ${disk}
      mkfs.ext4 -q -F /dev/etherd/${disk}
      mount /dev/etherd/${disk} ${disk}`);
    writing.push(client.start(keepWriting(disk)));
  }
  const before = await measure(client, "none", async () => {});
  lab.note(`without a restart: ${describe(before)}`);

  const pauses: Waits[][] = [];
  for (let restart = 1; restart <= RESTARTS; restart += 1) {
    let downMs = 0;
    const waits = await measure(client, `restart${restart}`, async () => {
      downMs = await timeRestart(server);
    });
    lab.note(`restart ${restart}, down for ${downMs} ms: ${describe(waits)}`);
    pauses.push(waits);
  }
  for (const [index, disk] of DISKS.entries()) {
    const sorted = pauses.map((waits) => waits[index].longestMs).toSorted((a, b) => a - b);
    lab.note(`${disk}: median pause ${sorted[RESTARTS >> 1]} ms, longest ${sorted.at(-1)} ms`);
  }

  tellEnough(client);
  for (const step of writing) await step.finish();
  for (const disk of DISKS) {
    await client.run(`
      umount ${disk}
      drop_caches
      mount /dev/etherd/${disk} ${disk}
      tail -n 8 ${disk}.sums >last
      (cd ${disk}; sha256sum --check --quiet ../last)
      umount ${disk}
      fsck.ext4 -fn /dev/etherd/${disk}`);
  }
  lab.note("all files are right and the file systems are clean");
});

interface Waits {
  readonly writes: number;
  readonly longestMs: number;
  readonly medianMs: number;
}

/** Files of 1 MiB, as fast as they go; the last eight are kept. */
function keepWriting(disk: string): string {
  return `
    number=0
    until [ -e "$EXCHANGE/enough" ]; do
      number=$((number + 1))
      dd if=/dev/urandom of=${disk}/$number bs=1M count=1 conv=fsync status=none
      (cd ${disk}; sha256sum $number) >>${disk}.sums
      [ $number -le 8 ] || rm ${disk}/$((number - 8))
    done`;
}

/** Lets the meter run on each disk while `act` is done. @returns the waits on each disk */
async function measure(client: Client, lap: string, act: () => Promise<void>): Promise<Waits[]> {
  const meters = DISKS.map((disk) => {
    const names = `"$EXCHANGE/${disk}-${lap}.notes" "$EXCHANGE/${lap}.enough"`;
    return client.start(`${helperProgram("pause-meter")} ${disk}/meter ${names}`);
  });
  const writesOf = (disk: string): number => {
    try {
      return Number(readFileSync(join(client.exchange, `${disk}-${lap}.notes`), "utf8"));
    } catch {
      return 0;
    }
  };
  const more = async () => {
    const begun = DISKS.map(writesOf);
    await until(
      `the meters to write ${WRITES_AROUND} times`,
      () => {
        for (const meter of meters) expect(meter.status, meter.output).toBeUndefined();
        return DISKS.every((disk, index) => writesOf(disk) >= begun[index] + WRITES_AROUND);
      },
      { timeoutMs: 120_000 },
    );
  };
  await more();
  await act();
  await more();
  writeFileSync(join(client.exchange, `${lap}.enough`), "");
  const outputs = await Promise.all(meters.map(async (meter) => meter.finish()));
  return outputs.map((output) => {
    const [writes = NaN, longestMs = NaN, medianMs = NaN] = output.split(" ").map(Number);
    return { writes, longestMs, medianMs };
  });
}

/** @returns milliseconds from the signal to the line that says ready */
async function timeRestart(server: Server): Promise<number> {
  const start = performance.now();
  await server.terminate();
  await server.start();
  return Math.round(performance.now() - start);
}

function describe(waits: readonly Waits[]): string {
  return waits
    .map(
      ({ longestMs, medianMs }, index) =>
        `${DISKS[index]} longest ${longestMs} ms, median ${medianMs} ms`,
    )
    .join("; ");
}
