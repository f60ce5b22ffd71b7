import { type BlobBatch, BlobFetch, FetchOutcome } from "./blob-store.ts";
import type { IndexState } from "./frame-builder.ts";
import { HASH_BYTES } from "./hash.ts";
import { queuedBatch, type QueuedBatch } from "./queued-batch.ts";
import type { SegmentReader } from "./segment-reader.ts";

type CandidateReader = Pick<SegmentReader, "fetch" | "submit">;

/**
 * Before a blob is taken for a duplicate, what is stored under the same 64 bits is read and
 * compared with the whole name. Names seen not long ago need no look.
 */
export class DuplicateCheck {
  readonly #state: IndexState;
  readonly #reader: CandidateReader;

  constructor(state: IndexState, reader: CandidateReader) {
    this.#state = state;
    this.#reader = reader;
  }

  prepare(batch: BlobBatch): QueuedBatch {
    const { index, recent } = this.#state;
    let check: BatchCheck | undefined;
    for (let blob = 0; blob < batch.blobCount; blob++) {
      const hashOffset = blob * HASH_BYTES;
      if (recent.has(batch.hashes, hashOffset) || !index.find(batch.hashes, hashOffset)) continue;
      check ??= new BatchCheck(batch, this.#state);
      check.start(this.#reader, blob);
    }
    if (check === undefined) return queuedBatch(batch);
    this.#reader.submit();
    check.allStarted();
    return check.queued;
  }
}

class BatchCheck {
  readonly queued: QueuedBatch;
  readonly #batch: BlobBatch;
  readonly #state: IndexState;
  readonly #confirmed: Uint8Array;
  readonly #done = Promise.withResolvers<void>();
  /** Fetches under way, and 1 until all are started: some are done at once. */
  #running = 1;

  constructor(batch: BlobBatch, state: IndexState) {
    this.#batch = batch;
    this.#state = state;
    this.#confirmed = new Uint8Array(batch.blobCount);
    this.queued = {
      batch,
      confirmed: this.#confirmed,
      confirmedAt: state.removals,
      ready: this.#done.promise,
      isReady: false,
      moved: undefined,
    };
  }

  start(reader: CandidateReader, blob: number): void {
    this.#running++;
    reader.fetch(new CandidateFetch(this, this.#batch, blob));
  }

  finished(blob: number, isStored: boolean): void {
    if (isStored) {
      this.#confirmed[blob] = 1;
      if (this.queued.confirmedAt === this.#state.removals) {
        this.#state.recent.add(this.#batch.hashes, blob * HASH_BYTES);
      }
    }
    this.#finishOne();
  }

  allStarted(): void {
    this.#finishOne();
  }

  #finishOne(): void {
    if (--this.#running > 0) return;
    this.queued.isReady = true;
    this.#done.resolve();
  }
}

class CandidateFetch extends BlobFetch {
  readonly #check: BatchCheck;
  readonly #blob: number;

  constructor(check: BatchCheck, batch: BlobBatch, blob: number) {
    super();
    this.#check = check;
    this.#blob = blob;
    this.hash.set(batch.hashes.subarray(blob * HASH_BYTES, (blob + 1) * HASH_BYTES));
    this.capacityBytes = batch.lengths[blob];
    this.target = Buffer.allocUnsafe(this.capacityBytes);
  }

  fetched(): void {
    this.#check.finished(this.#blob, this.outcome === FetchOutcome.ok);
  }
}
