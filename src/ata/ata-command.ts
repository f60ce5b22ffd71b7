import { BlockRequest } from "../storage/block-storage.ts";
import type { Target } from "../target/target.ts";

/**
 * One ATA command in a frame, as the engine sees it: where the frame is, what it may carry, and
 * whom to ask. It is its own storage request, so nothing is allocated for it.
 */
export abstract class AtaCommand extends BlockRequest {
  /** The arena; all offsets are into it. */
  readonly bytes: Uint8Array;
  readonly frameOffset: number;
  /** Octets of the request. */
  frameLengthBytes = 0;
  /** Sectors that fit one frame of the interface that the request came in by. */
  frameSectors = 0;
  target!: Target;

  constructor(bytes: Uint8Array, frameOffset: number) {
    super();
    this.bytes = bytes;
    this.frameOffset = frameOffset;
  }

  /** Sends the frame back with its registers and data as they now stand. */
  abstract reply(lengthBytes: number): void;
}
