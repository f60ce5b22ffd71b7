import type { FrameArena } from "../arena/frame-arena.ts";
import { shim } from "../native/shim.ts";
import {
  BlockOperation,
  type BlockRequest,
  BlockStatus,
  type BlockStorage,
  emptyStorageStatistics,
  SECTOR_BYTES,
  type StorageInfo,
} from "./block-storage.ts";

export interface MemoryStorageOptions {
  /** A multiple of 512. */
  readonly sizeBytes: number;
  readonly readOnly?: boolean;
}

/** A disk in memory, for tests and benchmarks. Memory that was never written costs nothing. */
export function openMemoryStorage(options: MemoryStorageOptions, arena: FrameArena): MemoryStorage {
  return new MemoryStorage(options, arena);
}

export class MemoryStorage implements BlockStorage {
  readonly statistics = emptyStorageStatistics();
  onResize: (() => void) | undefined;
  #info: StorageInfo;
  /** Buffers rather than plain views: `copy` moves a range without making a view of it. */
  #medium: Buffer;
  readonly #arena: Buffer;
  #first: BlockRequest | null = null;
  #last: BlockRequest | null = null;
  #submitting = false;
  #closed = false;

  constructor(options: MemoryStorageOptions, arena: FrameArena) {
    this.#medium = Buffer.from(shim.mapMemory(options.sizeBytes));
    this.#arena = Buffer.from(arena.memory);
    this.#info = {
      description: "memory",
      sectors: options.sizeBytes / SECTOR_BYTES,
      physicalBlockBytes: 4096,
      readOnly: options.readOnly ?? false,
      canTrim: !(options.readOnly ?? false),
      durability: "durable",
    };
  }

  info(): StorageInfo {
    return this.#info;
  }

  read(request: BlockRequest): void {
    this.#append(request, BlockOperation.read);
  }

  write(request: BlockRequest): void {
    this.#append(request, BlockOperation.write);
  }

  flush(request: BlockRequest): void {
    this.#append(request, BlockOperation.flush);
  }

  trim(request: BlockRequest): void {
    this.#append(request, BlockOperation.trim);
  }

  submit(): void {
    // A `completed()` may hand over more and submit again: the loop below takes that as well.
    if (this.#submitting) return;
    this.#submitting = true;
    let request = this.#first;
    while (request !== null) {
      this.#first = request.next;
      if (this.#first === null) this.#last = null;
      request.next = null;
      this.#execute(request);
      this.statistics.inline++;
      request.completed();
      request = this.#first;
    }
    this.#submitting = false;
  }

  async resize(sectors: number): Promise<void> {
    const medium = Buffer.from(shim.mapMemory(sectors * SECTOR_BYTES));
    this.#medium.copy(medium);
    this.#medium = medium;
    this.#info = { ...this.#info, sectors };
    this.onResize?.();
    return Promise.resolve();
  }

  async close(): Promise<void> {
    this.submit();
    this.#closed = true;
  }

  #append(request: BlockRequest, operation: BlockOperation): void {
    request.operation = operation;
    request.next = null;
    if (this.#last === null) this.#first = request;
    else this.#last.next = request;
    this.#last = request;
  }

  #execute(request: BlockRequest): void {
    if (this.#closed) {
      request.status = BlockStatus.unavailable;
      return;
    }
    const start = request.lba * SECTOR_BYTES;
    const lengthBytes = request.lengthSectors * SECTOR_BYTES;
    const memory = request.memoryOffset;
    if (request.operation === BlockOperation.read) {
      this.#medium.copy(this.#arena, memory, start, start + lengthBytes);
    } else if (request.operation === BlockOperation.write) {
      this.#arena.copy(this.#medium, start, memory, memory + lengthBytes);
    } else if (request.operation === BlockOperation.trim) {
      this.#medium.fill(0, start, start + lengthBytes);
    }
    request.status = BlockStatus.ok;
  }
}
