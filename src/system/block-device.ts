import { readdirSync, readFileSync, type Stats } from "node:fs";
import { callLibc, LibcType } from "./libc.ts";

/** <linux/fs.h>; the numbers are the same on x86-64 and ARM64. */
const BLKROGET = 0x125e;
const BLKSSZGET = 0x1268;
const BLKPBSZGET = 0x127b;
const BLKGETSIZE64 = 0x80081272;

export interface BlockDeviceGeometry {
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  /** The kernel allows no writes to it. */
  readonly readOnly: boolean;
}

/** @throws Error with the errno's name when the kernel does not answer */
export function blockDeviceGeometry(descriptor: number): BlockDeviceGeometry {
  return {
    sizeBytes: blockDeviceSize(descriptor),
    logicalBlockBytes: query(descriptor, BLKSSZGET).readInt32LE(0),
    physicalBlockBytes: query(descriptor, BLKPBSZGET).readInt32LE(0),
    readOnly: query(descriptor, BLKROGET).readInt32LE(0) !== 0,
  };
}

/** In bytes; it follows a device that grows or shrinks while it is open. */
export function blockDeviceSize(descriptor: number): number {
  return Number(query(descriptor, BLKGETSIZE64).readBigUInt64LE(0));
}

function query(descriptor: number, request: number): Buffer {
  const answer = Buffer.alloc(8);
  const result = callLibc(
    "ioctl",
    [LibcType.int, descriptor],
    [LibcType.long, request],
    [LibcType.buffer, answer],
  );
  if (result < 0) throw new Error(`ioctl 0x${request.toString(16)} failed: ${result}`);
  return answer;
}

/** "8:1" of a device file. */
function deviceName(device: Stats): string {
  const major = Math.floor(device.rdev / 256) % 4096;
  const minor = (device.rdev % 256) + Math.floor(device.rdev / 2 ** 20) * 256;
  return `${major}:${minor}`;
}

/**
 * What uses a block device or one of its partitions, in words: "mounted on /srv", "used by dm-0",
 * "swap space"; undefined when nothing is known.
 */
export function blockDeviceUser(device: Stats, path: string): string | undefined {
  const name = deviceName(device);
  const folder = `/sys/dev/block/${name}`;
  const devices = new Set([name, ...partitions(folder)]);

  for (const line of lines("/proc/self/mountinfo")) {
    const fields = line.split(" ");
    if (devices.has(fields[2] ?? "")) return `mounted on ${unescape(fields[4] ?? "")}`;
  }
  const holder = listing(`${folder}/holders`)[0];
  if (holder !== undefined) return `used by ${holder}`;
  const swaps = lines("/proc/swaps").map((line) => line.split(" ")[0]);
  return swaps.includes(path) ? "swap space" : undefined;
}

export interface DiscardAbility {
  readonly canDiscard: boolean;
  /** Zeroes ranges by itself, giving the space back where it can. */
  readonly canZero: boolean;
}

/** What the driver of a block device can do with a range that is not needed. */
export function discardAbility(device: Stats): DiscardAbility {
  const folder = `/sys/dev/block/${deviceName(device)}`;
  // A partition has no queue of its own.
  const queues = [`${folder}/queue`, `${folder}/../queue`];
  const limit = (name: string): boolean =>
    queues.some((queue) => Number(lines(`${queue}/${name}`)[0] ?? 0) > 0);
  return { canDiscard: limit("discard_max_bytes"), canZero: limit("write_zeroes_max_bytes") };
}

function partitions(folder: string): string[] {
  return listing(folder)
    .map((entry) => lines(`${folder}/${entry}/dev`)[0])
    .filter((name) => name !== undefined && name !== "");
}

function lines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch {
    return [];
  }
}

function listing(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** mountinfo writes a blank as \040. */
function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCodePoint(parseInt(octal, 8)),
  );
}
