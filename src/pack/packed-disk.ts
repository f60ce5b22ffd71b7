import type { LogDisk, LogFile } from "../blob/log-disk.ts";
import {
  BLOB_ENTRY_BYTES,
  decodeSegmentHeader,
  encodeFooterTrailer,
  encodeSegmentHeader,
  footerBytes,
  SECTOR_BYTES,
} from "../blob/segment-format.ts";
import { SEGMENT_NAME, segmentName } from "../blob/segment-space.ts";
import type { EntriesSource } from "./entries-source.ts";
import type { PackReader } from "./pack-reader.ts";
import { endOf, entryCountOf, type RemoteSegment } from "./remote-segment.ts";

export interface PackedDiskOptions {
  readonly local: LogDisk;
  readonly reader: PackReader;
  readonly entries: EntriesSource;
  readonly storeId: Uint8Array;
  readonly segmentBytes: number;
  /** Whether a stored head names this segment as a whole: only then can the local copy go. */
  readonly isKept: (number: number) => boolean;
}

/**
 * The disk of a segment log whose sealed segments may be in an object store only: such a segment is
 * a file like the others, read through a PackReader. Everything else is on the local disk.
 */
export class PackedDisk implements LogDisk {
  readonly description: string;
  readonly #options: PackedDiskOptions;
  /** By name: the segments that are not on the local disk, until their files are opened. */
  readonly #remote = new Map<string, RemoteSegment>();
  readonly #files = new Map<number, SegmentFile>();
  /** Numbers of the segments that were not on the local disk at first. */
  readonly #away = new Set<number>();

  private constructor(options: PackedDiskOptions) {
    this.#options = options;
    this.description = options.local.description;
  }

  /** @param segments what the object store has */
  static async open(
    options: PackedDiskOptions,
    segments: Iterable<RemoteSegment>,
  ): Promise<PackedDisk> {
    const disk = new PackedDisk(options);
    const { slots, numbers } = await disk.#localSegments();
    let slot = 0;
    for (const segment of segments) {
      const local = numbers.get(segment.number);
      if (local !== undefined) {
        disk.#remote.set(local, segment);
        continue;
      }
      disk.#away.add(segment.number);
      while (slots.has(slot)) slot++;
      disk.#remote.set(segmentName(slot++), segment);
    }
    return disk;
  }

  async #localSegments(): Promise<{ slots: Set<number>; numbers: Map<number, string> }> {
    const { local, storeId } = this.#options;
    const slots = new Set<number>();
    const numbers = new Map<number, string>();
    for (const name of await local.list()) {
      const match = SEGMENT_NAME.exec(name);
      if (match === null) continue;
      slots.add(Number(match[1]));
      const file = await local.open(name);
      const sector = new Uint8Array(SECTOR_BYTES);
      await file.read(sector, 0);
      await file.close();
      const header = decodeSegmentHeader(storeId, sector);
      if (header?.inUse === true) numbers.set(header.segmentNumber, name);
    }
    return { slots, numbers };
  }

  async list(): Promise<string[]> {
    return [...new Set([...(await this.#options.local.list()), ...this.#remote.keys()])];
  }

  async create(name: string): Promise<LogFile> {
    return this.#wrap(name, await this.#options.local.create(name));
  }

  async open(name: string): Promise<LogFile> {
    const remote = this.#remote.get(name);
    const { local } = this.#options;
    if (remote === undefined) return this.#wrap(name, await local.open(name));
    this.#remote.delete(name);
    const isLocal = (await local.list()).includes(name);
    return this.#wrap(name, isLocal ? await local.open(name) : undefined, remote);
  }

  #wrap(name: string, local: LogFile | undefined, remote?: RemoteSegment): LogFile {
    const match = SEGMENT_NAME.exec(name);
    if (match === null) return local as LogFile;
    const file = new SegmentFile(this.#options, name, local, remote);
    this.#files.set(Number(match[1]), file);
    return file;
  }

  async remove(name: string): Promise<void> {
    const match = SEGMENT_NAME.exec(name);
    const file = match === null ? undefined : this.#files.get(Number(match[1]));
    if (match !== null) this.#files.delete(Number(match[1]));
    if (file?.isLocal !== false) await this.#options.local.remove(name);
  }

  syncNames(): Promise<void> {
    return this.#options.local.syncNames();
  }

  /** Whether a segment was in the object store only when the disk was opened. */
  isAway(number: number): boolean {
    return this.#away.has(number);
  }

  file(slot: number): SegmentFile | undefined {
    return this.#files.get(slot);
  }

  /** The segments of which the local copy can be given up, the oldest first. */
  evictable(): SegmentFile[] {
    return [...this.#files.values()]
      .filter((file) => file.localBytes > 0 && file.isKept)
      .toSorted((left, right) => (left.remote?.number ?? 0) - (right.remote?.number ?? 0));
  }

  /** Bytes of the segments on the local disk. */
  get localBytes(): number {
    let bytes = 0;
    for (const file of this.#files.values()) bytes += file.localBytes;
    return bytes;
  }
}

/** A segment on the local disk, in the object store, or in both. */
export class SegmentFile implements LogFile {
  /** What the object store has of it; set again whenever that grows. */
  remote: RemoteSegment | undefined;
  readonly #options: PackedDiskOptions;
  readonly #name: string;
  #local: LogFile | undefined;
  /** Reads of the local file under way. */
  #reads = 0;
  #evicted: LogFile | undefined;
  #evicting: Promise<void> | undefined;

  constructor(
    options: PackedDiskOptions,
    name: string,
    local: LogFile | undefined,
    remote: RemoteSegment | undefined,
  ) {
    this.#options = options;
    this.#name = name;
    this.#local = local;
    this.remote = remote;
  }

  /** Also without the local copy it is found again, whatever happens. */
  get isKept(): boolean {
    return this.remote?.isSealed === true && this.#options.isKept(this.remote.number);
  }

  get isLocal(): boolean {
    return this.#local !== undefined || this.#evicted !== undefined;
  }

  get localBytes(): number {
    return this.#local?.sizeBytes ?? 0;
  }

  get sizeBytes(): number {
    return this.#local?.sizeBytes ?? this.#options.segmentBytes;
  }

  async write(data: Uint8Array, position: number): Promise<void> {
    await (await this.#writable()).write(data, position);
  }

  async writeDurably(data: Uint8Array, position: number): Promise<void> {
    await (await this.#writable()).writeDurably(data, position);
  }

  /** Who writes to a segment that is not here gives it another use. */
  async #writable(): Promise<LogFile> {
    if (this.#local !== undefined) return this.#local;
    await this.#evicting;
    this.remote = undefined;
    this.#local = await this.#options.local.create(this.#name);
    await this.#options.local.syncNames();
    return this.#local;
  }

  async sync(): Promise<void> {
    await this.#local?.sync();
  }

  async syncAhead(): Promise<void> {
    await this.#local?.syncAhead();
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    const local = this.#local;
    if (local === undefined) return this.#readRemote(target, position);
    this.#reads++;
    try {
      return await local.read(target, position);
    } finally {
      if (--this.#reads === 0 && this.#evicted !== undefined) this.#removeEvicted();
    }
  }

  /** The same bytes as in the local file; where nothing was written there are zeros. */
  async #readRemote(target: Uint8Array, position: number): Promise<number> {
    const { remote } = this;
    const { segmentBytes, reader } = this.#options;
    if (remote === undefined) return 0;
    const end = Math.min(position + target.length, segmentBytes);
    if (end <= position) return 0;
    target.fill(0, 0, end - position);
    if (position === 0 && end === SECTOR_BYTES) {
      target.set(this.#header(remote));
      return SECTOR_BYTES;
    }
    const reads: Promise<void>[] = [];
    for (const part of remote.parts) {
      const from = Math.max(part.start, position);
      const to = Math.min(part.end, end);
      if (from >= to) continue;
      const piece = target.subarray(from - position, to - position);
      reads.push(reader.read(part, from - part.start, piece));
    }
    if (remote.isSealed && end > endOf(remote)) reads.push(this.#readFooter(target, position, end));
    await Promise.all(reads);
    return end - position;
  }

  #header({ number, firstSequence, previousChecksum, logEpoch }: RemoteSegment): Uint8Array {
    return encodeSegmentHeader(this.#options.storeId, {
      inUse: true,
      segmentNumber: number,
      firstSequence,
      previousChecksum,
      epoch: logEpoch,
    });
  }

  /** The footer is made anew: its entries are in the packs, in another order. */
  async #readFooter(target: Uint8Array, position: number, end: number): Promise<void> {
    const { segmentBytes, entries } = this.#options;
    const remote = this.remote as RemoteSegment;
    const entryCount = entryCountOf(remote);
    const entriesOffset = segmentBytes - footerBytes(entryCount);
    const trailer = encodeFooterTrailer({
      segmentNumber: remote.number,
      entryCount,
      entriesOffset,
      entriesChecksum: remote.entriesChecksum,
      framesEnd: endOf(remote),
      lastSequence: remote.lastSequence,
      lastChecksum: remote.lastChecksum,
    });
    copyOverlap(trailer, segmentBytes - SECTOR_BYTES, target, position, end);
    const entriesEnd = entriesOffset + entryCount * BLOB_ENTRY_BYTES;
    if (position >= entriesEnd || end <= entriesOffset) return;
    copyOverlap(await entries.load(remote), entriesOffset, target, position, end);
  }

  /** The local copy is not what was written, or the cached one, or the answer of the store. */
  distrust(position: number, lengthBytes: number): boolean {
    const { remote } = this;
    if (remote === undefined || position + lengthBytes > endOf(remote)) return false;
    if (this.#local !== undefined) return this.evict();
    for (const part of remote.parts) {
      const from = Math.max(part.start, position);
      const to = Math.min(part.end, position + lengthBytes);
      if (from < to) this.#options.reader.forget(part, from - part.start, to - from);
    }
    return true;
  }

  /** Gives up the local copy of a segment that is whole in the object store. */
  evict(): boolean {
    if (this.#local === undefined || !this.isKept) return false;
    if (this.#evicted !== undefined) return false;
    this.#evicted = this.#local;
    this.#local = undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#evicting = promise;
    this.#evictionDone = resolve;
    if (this.#reads === 0) this.#removeEvicted();
    return true;
  }

  #evictionDone: () => void = () => {};

  #removeEvicted(): void {
    const file = this.#evicted as LogFile;
    file
      .close()
      .then(() => this.#options.local.remove(this.#name))
      // What is left of it is found when the store is opened the next time.
      .catch(() => undefined)
      .finally(() => {
        this.#evicted = undefined;
        this.#evictionDone();
      });
  }

  async close(): Promise<void> {
    await this.#evicting;
    await this.#local?.close();
  }
}

/** Copies what `source`, which lies at `sourceAt`, has of the range from `position` to `end`. */
function copyOverlap(
  source: Uint8Array,
  sourceAt: number,
  target: Uint8Array,
  position: number,
  end: number,
): void {
  const from = Math.max(sourceAt, position);
  const to = Math.min(sourceAt + source.length, end);
  if (from < to) target.set(source.subarray(from - sourceAt, to - sourceAt), from - position);
}
