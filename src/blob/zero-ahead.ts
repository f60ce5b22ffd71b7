import { fillWithZeros, type Segment } from "./segment-space.ts";

/** Frames of this size and more make the file longer by themselves. */
const LARGE_FRAME_BYTES = 128 * 1024;
const SMALLEST_STEP_BYTES = 64 * 1024;
const LARGEST_STEP_BYTES = 2 * 1024 * 1024;

/** Keeps some zeros written ahead of small frames: a sync of them then changes no metadata. */
export class ZeroAhead {
  readonly #segmentBytes: number;
  #filling: Promise<void> | undefined;

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes;
  }

  /** Resolves when nothing is under way; undefined when nothing is now. Never rejects. */
  get done(): Promise<void> | undefined {
    return this.#filling;
  }

  /** After a frame: starts to write more zeros behind it, when few are left. */
  keep(segment: Segment, frameBytes: number): void {
    if (frameBytes >= LARGE_FRAME_BYTES) return;
    const allocated = segment.file.sizeBytes;
    const step = Math.min(Math.max(segment.framesEnd, SMALLEST_STEP_BYTES), LARGEST_STEP_BYTES);
    if (allocated - segment.framesEnd > step / 2 || this.#filling !== undefined) return;
    const target = Math.min(segment.framesEnd + step, this.#segmentBytes);
    if (target <= allocated) return;
    this.#filling = this.#fill(segment, target);
  }

  async #fill(segment: Segment, targetBytes: number): Promise<void> {
    try {
      await fillWithZeros(segment.file, targetBytes);
      await segment.file.syncAhead();
    } catch {
      // A full disk shows when a frame needs the room, a lost write in the next sync.
    } finally {
      this.#filling = undefined;
    }
  }
}
