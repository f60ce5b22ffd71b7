import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "./client.ts";
import { helperProgram } from "./run-folder.ts";

/**
 * A file system on the disk keeps a file: makes it, writes, reads back from the server, checks.
 * @returns the sum of the file that is then on the disk as /data
 */
export async function keepFileSystem(client: Client, disk: string, sizeMiB = 64): Promise<string> {
  const sums = await client.run(`
    mkfs.ext4 -q -F /dev/etherd/${disk}
    mount /dev/etherd/${disk} disk
    dd if=/dev/urandom of=disk/data bs=1M count=${sizeMiB} conv=fsync status=none
    sum_of disk/data
    umount disk
    drop_caches
    mount /dev/etherd/${disk} disk
    sum_of disk/data
    umount disk
    fsck.ext4 -fn /dev/etherd/${disk} >fsck.log 2>&1 || { cat fsck.log; exit 1; }`);
  const [written = "", read] = sums.split("\n");
  if (!/^[0-9a-f]{64}$/.test(written) || read !== written) {
    throw new Error(`wrote ${written} to ${disk}, read ${read}`);
  }
  return written;
}

export interface FioOptions {
  disk: string;
  sizeMiB: number;
  /** Chooses the offsets and sizes; printed, so that a failure can be repeated. */
  seed: number;
  /** How many times all is written before it is verified. */
  loops?: number;
}

/**
 * fio writes random blocks of mixed sizes with a checksum in each, reads all back and compares. Any
 * block that is lost, stale or in the wrong place fails it.
 */
export function fioVerify({ disk, sizeMiB, seed, loops = 1 }: FioOptions): string {
  const options = [
    "--name=verify",
    `--filename=/dev/etherd/${disk}`,
    "--thread",
    "--ioengine=libaio",
    "--direct=1",
    "--iodepth=32",
    "--rw=randwrite",
    "--bsrange=512-64k",
    "--blockalign=512",
    `--size=${sizeMiB}M`,
    `--loops=${loops}`,
    "--verify=crc32c",
    "--verify_fatal=1",
    "--do_verify=1",
    `--randseed=${seed}`,
    "--output-format=terse",
  ];
  return `fio ${options.join(" ")}`;
}

/** Repeats that until `tellEnough`: for what shall happen while it is at work, however fast. */
export function fioVerifyUntilTold(options: FioOptions): string {
  return `until [ -e "$EXCHANGE/enough" ]; do ${fioVerify(options)}; done`;
}

export function tellEnough(client: Client): void {
  writeFileSync(join(client.exchange, "enough"), "");
}

/** Starts the writer of record-writer.c, which ends when it is told enough; see records.ts. */
export function writeRecords(disk: string, count: number, writers: number): string {
  const program = helperProgram("record-writer");
  return `${program} /dev/etherd/${disk} "$EXCHANGE/notes" ${count} ${writers} "$EXCHANGE/enough"`;
}
