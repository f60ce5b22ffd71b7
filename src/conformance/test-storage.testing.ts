import type { FrameArena } from "../arena/frame-arena.ts";
import { BlockOperation, BlockStatus } from "../storage/block-storage.ts";
import type { BlockRequest, BlockStorage, StorageInfo } from "../storage/block-storage.ts";
import { openMemoryStorage } from "../storage/memory-storage.ts";
import { diskSectors } from "./frames.testing.ts";

/** Sectors that are really there; larger disks only say that they are. */
const MEDIUM_SECTORS = 65_536;
const FILLED_SECTORS = 8192;

/** A disk in memory that can be held, resized and made to fail. */
export class TestStorage implements BlockStorage {
  onResize: (() => void) | undefined;
  readonly #medium: BlockStorage;
  readonly #failing = new Map<string, number>();
  readonly #held: BlockRequest[] = [];
  readonly #failed: BlockRequest[] = [];
  #isHeld = false;
  #info: StorageInfo;

  constructor(sectors: number, readOnly: boolean, arena: FrameArena) {
    this.#medium = openMemoryStorage({ sizeBytes: MEDIUM_SECTORS * 512 }, arena);
    this.#info = { ...this.#medium.info(), sectors, readOnly, canTrim: !readOnly };
    this.#fill(Math.min(sectors, FILLED_SECTORS), arena);
  }

  get statistics(): BlockStorage["statistics"] {
    return this.#medium.statistics;
  }

  info(): StorageInfo {
    return this.#info;
  }

  hold(): void {
    this.#isHeld = true;
  }

  releaseHeld(): void {
    this.#isHeld = false;
    for (const request of this.#held.splice(0)) this.#take(request, request.operation);
    this.submit();
  }

  failSector(lba: number, operation: "read" | "write"): void {
    this.#failing.set(operation, lba);
  }

  setSectors(sectors: number): void {
    this.#info = { ...this.#info, sectors };
    this.onResize?.();
  }

  read(request: BlockRequest): void {
    this.#take(request, BlockOperation.read);
  }

  write(request: BlockRequest): void {
    this.#take(request, BlockOperation.write);
  }

  flush(request: BlockRequest): void {
    this.#take(request, BlockOperation.flush);
  }

  trim(request: BlockRequest): void {
    this.#take(request, BlockOperation.trim);
  }

  submit(): void {
    for (const request of this.#failed.splice(0)) request.completed();
    this.#medium.submit();
  }

  /** The medium stays: a test may start again over the same disk. */
  async close(): Promise<void> {
    this.releaseHeld();
    return Promise.resolve();
  }

  #take(request: BlockRequest, operation: BlockOperation): void {
    request.operation = operation;
    if (this.#isHeld) {
      this.#held.push(request);
      return;
    }
    const failing = this.#failing.get(operation === BlockOperation.read ? "read" : "write");
    const end = request.lba + request.lengthSectors;
    const fails = failing !== undefined && request.lba <= failing && failing < end;
    if (operation === BlockOperation.read) {
      if (fails) this.#fail(request, BlockStatus.unreadable, failing);
      else this.#medium.read(request);
    } else if (operation === BlockOperation.write) {
      if (fails) this.#fail(request, BlockStatus.writeFault, failing);
      else this.#medium.write(request);
    } else if (operation === BlockOperation.flush) {
      this.#medium.flush(request);
    } else {
      this.#medium.trim(request);
    }
  }

  #fail(request: BlockRequest, status: BlockStatus, failedLba: number): void {
    request.status = status;
    request.failedLba = failedLba;
    this.#failed.push(request);
  }

  #fill(sectors: number, arena: FrameArena): void {
    const frame = arena.allocate();
    const memoryOffset = arena.frameOffset(frame);
    for (let lba = 0; lba < sectors; lba += 16) {
      const count = Math.min(16, sectors - lba);
      arena.bytes.set(diskSectors(lba, count), memoryOffset);
      this.#medium.write(fillRequest(lba, count, memoryOffset));
      this.#medium.submit();
    }
    arena.release(frame);
  }
}

function fillRequest(lba: number, lengthSectors: number, memoryOffset: number): BlockRequest {
  return {
    operation: BlockOperation.write,
    lba,
    lengthSectors,
    memoryOffset,
    status: BlockStatus.ok,
    failedLba: 0,
    next: null,
    completed: () => {},
  };
}
