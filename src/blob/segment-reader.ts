import { type BlobFetch, FetchOutcome } from "./blob-store.ts";
import type { FrameBuilder, IndexState } from "./frame-builder.ts";
import { HASH_BYTES, hashesEqual, hashInto, hashPieces } from "./hash.ts";
import type { Segment, SegmentSpace } from "./segment-space.ts";

/** Blobs this near to each other on the disk are read in one piece. */
const LARGEST_GAP_BYTES = 8 * 1024;
const LARGEST_READ_BYTES = 512 * 1024;
const MOST_BLOBS = 256;
/** Of a file that has several copies of what is in it. */
const MOST_MISMATCHES = 3;

/** A fetch on its way: which of the entries with its 64 bits is being tried. */
interface Lookup {
  fetch: BlobFetch;
  segment: Segment;
  offset: number;
  lengthBytes: number;
  /** Entries tried before this one. */
  tried: number;
  /** How often this one turned out to hold something else. */
  mismatches: number;
}

export interface ReaderStatistics {
  fetches: number;
  diskReads: number;
  damagedBlobs: number;
}

/** Reads blobs from the segments, neighbours together, and compares each with its name. */
export class SegmentReader {
  readonly statistics: ReaderStatistics = { fetches: 0, diskReads: 0, damagedBlobs: 0 };
  readonly #state: IndexState;
  readonly #space: SegmentSpace;
  readonly #inFlight: FrameBuilder;
  #pending: Lookup[] = [];
  readonly #offsets = new Uint32Array(MOST_BLOBS);
  readonly #lengths = new Uint32Array(MOST_BLOBS);
  readonly #names = new Uint8Array(MOST_BLOBS * HASH_BYTES);

  /** @param inFlight the frame that may be on its way to the disk, read from memory */
  constructor(state: IndexState, space: SegmentSpace, inFlight: FrameBuilder) {
    this.#state = state;
    this.#space = space;
    this.#inFlight = inFlight;
  }

  fetch(fetch: BlobFetch): void {
    this.statistics.fetches++;
    this.#lookUp(fetch, 0);
  }

  /** Takes the entry after `tried` others; several blobs may share 64 bits of their names. */
  #lookUp(fetch: BlobFetch, tried: number): void {
    const { index } = this.#state;
    let found = index.find(fetch.hash, 0);
    for (let skipped = 0; found && skipped < tried; skipped++) found = index.findNext();
    if (!found) {
      if (tried > 0) this.statistics.damagedBlobs++;
      finish(fetch, tried === 0 ? FetchOutcome.missing : FetchOutcome.damaged);
      return;
    }
    const { segmentSlot, offset, lengthBytes } = index;
    const segment = this.#space.segments[segmentSlot];
    if (segment === undefined || lengthBytes > fetch.capacityBytes) {
      this.#lookUp(fetch, tried + 1);
      return;
    }
    const lookup = { fetch, segment, offset, lengthBytes, tried, mismatches: 0 };
    const bytes = this.#inFlight.blobAt(segmentSlot, offset, lengthBytes);
    if (bytes !== undefined) {
      fetch.target.set(bytes, fetch.targetOffset);
      this.#verify(lookup);
      return;
    }
    segment.pins++;
    this.#pending.push(lookup);
  }

  /** Sorts what was handed over, and reads neighbours together. */
  submit(): void {
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    if (pending.length > 1) {
      pending.sort(
        (left, right) => left.segment.slot - right.segment.slot || left.offset - right.offset,
      );
    }
    let run: Lookup[] = [];
    for (const lookup of pending) {
      if (run.length > 0 && !joins(run, lookup)) {
        this.#start(run);
        run = [];
      }
      run.push(lookup);
    }
    this.#start(run);
  }

  #start(run: Lookup[]): void {
    this.statistics.diskReads++;
    const [first] = run;
    if (first === undefined) return;
    if (run.length === 1) {
      const { fetch } = first;
      const target = fetch.target.subarray(
        fetch.targetOffset,
        fetch.targetOffset + first.lengthBytes,
      );
      first.segment.file.read(target, first.offset).then(
        () => this.#complete(first),
        () => this.#retry(first),
      );
      return;
    }
    const last = run[run.length - 1];
    const buffer = Buffer.allocUnsafe(last.offset + last.lengthBytes - first.offset);
    first.segment.file.read(buffer, first.offset).then(
      () => this.#completeRun(run, buffer),
      () => {
        for (const lookup of run) this.#retryAlone(lookup);
      },
    );
  }

  #complete(lookup: Lookup): void {
    lookup.segment.pins--;
    this.#verify(lookup);
    this.submit();
  }

  #verify(lookup: Lookup): void {
    const { fetch, lengthBytes, tried } = lookup;
    const { target, targetOffset } = fetch;
    hashInto(target.subarray(targetOffset, targetOffset + lengthBytes), this.#names, 0);
    if (hashesEqual(this.#names, 0, fetch.hash, 0)) {
      fetch.lengthBytes = lengthBytes;
      finish(fetch, FetchOutcome.ok);
    } else if (!this.#readAgain(lookup)) {
      this.#lookUp(fetch, tried + 1);
    }
  }

  /** The file may have another copy of the same bytes. */
  #readAgain(lookup: Lookup): boolean {
    const { segment, offset, lengthBytes } = lookup;
    if (++lookup.mismatches > MOST_MISMATCHES) return false;
    if (segment.file.distrust?.(offset, lengthBytes) !== true) return false;
    segment.pins++;
    this.#start([lookup]);
    return true;
  }

  #completeRun(run: Lookup[], buffer: Uint8Array): void {
    const start = run[0].offset;
    for (let at = 0; at < run.length; at++) {
      const lookup = run[at];
      this.#offsets[at] = lookup.offset - start;
      this.#lengths[at] = lookup.lengthBytes;
    }
    hashPieces(buffer, this.#offsets, this.#lengths, run.length, this.#names);
    const matches = run.map(({ fetch }, at) =>
      hashesEqual(this.#names, at * HASH_BYTES, fetch.hash, 0),
    );
    run.forEach((lookup, at) => {
      lookup.segment.pins--;
      const { fetch, lengthBytes } = lookup;
      if (matches[at]) {
        const from = lookup.offset - start;
        fetch.target.set(buffer.subarray(from, from + lengthBytes), fetch.targetOffset);
        fetch.lengthBytes = lengthBytes;
        finish(fetch, FetchOutcome.ok);
      } else if (!this.#readAgain(lookup)) {
        this.#lookUp(fetch, lookup.tried + 1);
      }
    });
    this.submit();
  }

  /** The disk could not read this copy. */
  #retry(lookup: Lookup): void {
    lookup.segment.pins--;
    this.#lookUp(lookup.fetch, lookup.tried + 1);
    this.submit();
  }

  /** A run could not be read: one bad sector must not take its neighbours with it. */
  #retryAlone(lookup: Lookup): void {
    this.#start([lookup]);
  }
}

function joins(run: Lookup[], next: Lookup): boolean {
  const first = run[0];
  const last = run[run.length - 1];
  return (
    run.length < MOST_BLOBS &&
    next.segment === last.segment &&
    next.offset - (last.offset + last.lengthBytes) <= LARGEST_GAP_BYTES &&
    next.offset + next.lengthBytes - first.offset <= LARGEST_READ_BYTES
  );
}

function finish(fetch: BlobFetch, outcome: FetchOutcome): void {
  fetch.outcome = outcome;
  fetch.fetched();
}
