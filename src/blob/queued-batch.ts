import type { BlobBatch } from "./blob-store.ts";

/** A batch on its way into the log, and what is known of its blobs. */
export interface QueuedBatch {
  readonly batch: BlobBatch;
  /** 1 for a blob whose stored copy was compared with it; see `confirmedAt`. */
  readonly confirmed: Uint8Array | undefined;
  /** What `IndexState.removals` was when the comparison was made: later removals void it. */
  confirmedAt: number;
  /** Resolves when the comparison is done; then `isReady` is true. */
  ready: Promise<void> | undefined;
  isReady: boolean;
  /** A sweep moves these blobs: where they are now. They are written whatever the index says. */
  readonly moved: MovedBlobs | undefined;
}

export interface MovedBlobs {
  readonly slot: number;
  /** Offset of each blob of the batch in its present segment. */
  readonly offsets: Uint32Array;
}

/** A batch that has nothing to compare. */
export function queuedBatch(batch: BlobBatch, moved?: MovedBlobs): QueuedBatch {
  return { batch, confirmed: undefined, confirmedAt: 0, ready: undefined, isReady: true, moved };
}
