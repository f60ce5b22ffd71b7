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
