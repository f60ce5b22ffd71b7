import type { FrameArena } from "../arena/frame-arena.ts";
import { BlockRequest, BlockStatus, SECTOR_BYTES } from "../storage/block-storage.ts";
import type { BlockStorage } from "../storage/block-storage.ts";

class ReadRequest extends BlockRequest {
  isDone = false;

  override completed(): void {
    this.isDone = true;
  }
}

const SECTORS_AT_ONCE = 16;

/** The whole content of a storage that completes during `submit`. */
export function readAll(storage: BlockStorage, arena: FrameArena): Uint8Array {
  const { sectors } = storage.info();
  const content = new Uint8Array(sectors * SECTOR_BYTES);
  const frame = arena.allocate();
  const memoryOffset = arena.frameOffset(frame);
  for (let lba = 0; lba < sectors; lba += SECTORS_AT_ONCE) {
    const request = new ReadRequest();
    request.lba = lba;
    request.lengthSectors = Math.min(SECTORS_AT_ONCE, sectors - lba);
    request.memoryOffset = memoryOffset;
    storage.read(request);
    storage.submit();
    if (!request.isDone || request.status !== BlockStatus.ok) throw new Error(`sector ${lba}`);
    const end = memoryOffset + request.lengthSectors * SECTOR_BYTES;
    content.set(arena.bytes.subarray(memoryOffset, end), lba * SECTOR_BYTES);
  }
  arena.release(frame);
  return content;
}
