import { execFileSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FrameArena } from "../arena/frame-arena.ts";
import { BlockRequest, BlockStatus, type BlockStorage, SECTOR_BYTES } from "./block-storage.ts";

export class TestRequest extends BlockRequest {
  /** How often it was given back. */
  completions = 0;
  onCompleted: ((request: TestRequest) => void) | undefined;
  #resolve: (() => void) | undefined;

  override completed(): void {
    this.completions++;
    this.onCompleted?.(this);
    this.#resolve?.();
  }

  async done(): Promise<this> {
    if (this.completions === 0) {
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
      });
    }
    return this;
  }
}

/** A storage with memory to talk to it: every request gets an area of its own, never reused. */
export class TestDisk {
  readonly storage: BlockStorage;
  readonly arena: FrameArena;
  #used = 0;

  constructor(storage: BlockStorage, arena: FrameArena) {
    this.storage = storage;
    this.arena = arena;
  }

  /** Hands over a read; its memory is filled with 0xee before. */
  read(lba: number, lengthSectors: number): TestRequest {
    const request = this.#request(lba, lengthSectors);
    this.data(request).fill(0xee);
    this.storage.read(request);
    return request;
  }

  /** Hands over a write of sectors that all hold `value`. */
  write(lba: number, lengthSectors: number, value: number): TestRequest {
    const request = this.#request(lba, lengthSectors);
    this.data(request).fill(value);
    this.storage.write(request);
    return request;
  }

  trim(lba: number, lengthSectors: number): TestRequest {
    const request = new TestRequest();
    request.lba = lba;
    request.lengthSectors = lengthSectors;
    this.storage.trim(request);
    return request;
  }

  flush(): TestRequest {
    const request = new TestRequest();
    this.storage.flush(request);
    return request;
  }

  submit(): void {
    this.storage.submit();
  }

  /** The memory of a request. */
  data(request: BlockRequest): Uint8Array {
    const lengthBytes = request.lengthSectors * SECTOR_BYTES;
    return new Uint8Array(this.arena.memory, request.memoryOffset, lengthBytes);
  }

  /** Reads sectors and returns a copy. @throws Error when that fails */
  async readBack(lba: number, lengthSectors: number): Promise<Uint8Array> {
    const request = this.read(lba, lengthSectors);
    this.submit();
    await request.done();
    if (request.status !== BlockStatus.ok) throw new Error(`read failed: ${request.status}`);
    return Uint8Array.from(this.data(request));
  }

  /** All memory may be used anew: no request is in flight. */
  reuseMemory(): void {
    this.#used = 0;
  }

  #request(lba: number, lengthSectors: number): TestRequest {
    const request = new TestRequest();
    request.lba = lba;
    request.lengthSectors = lengthSectors;
    request.memoryOffset = this.#used;
    this.#used += lengthSectors * SECTOR_BYTES;
    if (this.#used > this.arena.bytes.length) throw new Error("the test's arena is used up");
    return request;
  }
}

/** Submits and waits for all of them. @returns their statuses */
export async function finish(disk: TestDisk, requests: TestRequest[]): Promise<BlockStatus[]> {
  disk.submit();
  await Promise.all(requests.map((request) => request.done()));
  return requests.map((request) => request.status);
}

export function testArena(): FrameArena {
  return new FrameArena(2048);
}

const EXT4_MAGIC = 0xef53;
const XFS_MAGIC = 0x58465342;
const BTRFS_MAGIC = 0x9123683e;

/**
 * A folder on a disk, where data can be outside the page cache; undefined when all that may be used
 * for tests is in memory or layered.
 */
export function folderOnDisk(): string | undefined {
  return [tmpdir(), "/var/tmp", process.cwd()].find((folder) =>
    [EXT4_MAGIC, XFS_MAGIC, BTRFS_MAGIC].includes(statfsSync(folder).type),
  );
}

/**
 * Whether loop devices and mounts can be made: root, in the first user namespace, with the
 * capability for it and a kernel that has loop devices.
 */
export const mayAttachDevices = (() => {
  const CAP_SYS_ADMIN = 1n << 21n;
  const status = readFileSync("/proc/self/status", "utf8");
  const effective = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(status)?.[1] ?? "0"}`);
  const isFirstNamespace = readFileSync("/proc/self/uid_map", "utf8").includes("4294967295");
  if ((effective & CAP_SYS_ADMIN) === 0n || !isFirstNamespace) return false;
  try {
    accessSync("/dev/loop-control", constants.W_OK);
    return true;
  } catch {
    return false;
  }
})();

/** Loop devices, file systems in memory and folders that are taken away again by `dispose`. */
export class TestMedia {
  readonly #undo: (() => void)[] = [];

  /** A new folder, in the system's folder for temporary files unless said. */
  folder(parent = tmpdir()): string {
    const path = mkdtempSync(join(parent, "aoed-storage-"));
    this.#undo.push(() => rmSync(path, { recursive: true }));
    return path;
  }

  /** Mounts a file system in memory that is full after so many bytes. Needs `mayAttachDevices`. */
  smallFileSystem(sizeBytes: number): string {
    const path = this.folder();
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "aoed-storage", path]);
    this.#undo.push(() => execFileSync("umount", ["--lazy", path]));
    return path;
  }

  /** A new sparse file. */
  image(sizeBytes: number, folder = this.folder()): string {
    const path = join(folder, "disk.img");
    execFileSync("truncate", ["-s", String(sizeBytes), path]);
    return path;
  }

  /** Attaches a file as a block device. Needs `mayAttachDevices`. */
  loopDevice(image: string, ...options: string[]): string {
    const path = execFileSync("losetup", ["--find", "--show", ...options, image], {
      encoding: "utf8",
    }).trim();
    this.#undo.push(() => execFileSync("losetup", ["--detach", path]));
    return path;
  }

  /** Undoes the last first; what fails does not keep the others from being undone. */
  dispose(): void {
    const failures: unknown[] = [];
    for (const undo of this.#undo.splice(0).toReversed()) {
      try {
        undo();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "not all could be undone");
  }
}
