import { randomUUID } from "node:crypto";
import { FileStore } from "../blob/file-store.ts";
import { frameSeedOf, MAX_SEGMENT_BYTES } from "../blob/segment-format.ts";
import { systemErrorCode, UsageError } from "../errors.ts";
import { ObjectFault, objectFaultCode } from "../object/object-store.ts";
import { ChunkCache } from "./chunk-cache.ts";
import { type Clock, systemClock } from "./clock.ts";
import { EntriesSource } from "./entries-source.ts";
import { decodeHead, encodeHead, type Head } from "./head.ts";
import { RunLibrary } from "./index-run.ts";
import { IndexWriter } from "./index-writer.ts";
import { Lease, LeaseLost, type LeaseRecord } from "./lease.ts";
import { clearLocal, layLocal, planLocal, refuseOtherLog, storeIdOf } from "./local-front.ts";
import { type Marker, MarkerFile } from "./marker-file.ts";
import { PackGarbage } from "./pack-garbage.ts";
import { HEAD_KEY, packKey, runKey } from "./pack-names.ts";
import { PackReader } from "./pack-reader.ts";
import { PackedDisk } from "./packed-disk.ts";
import { PackedStore } from "./packed-store.ts";
import {
  DEFAULT_DISK_CACHE_BYTES,
  DEFAULT_LEASE_MS,
  DEFAULT_MAX_DIRTY_BYTES,
  DEFAULT_UPLOAD_INTERVAL_MS,
  type PackedStoreOptions,
} from "./packed-store-options.ts";
import { OwnPin, ReaderPins } from "./reader-pins.ts";
import { RemoteLog } from "./remote-log.ts";
import type { RemoteSegment } from "./remote-segment.ts";
import { RemoteSide } from "./remote-side.ts";
import { putHead, Uploader } from "./uploader.ts";

const DEFAULT_PACK_BYTES = 32 * 1024 * 1024;
/** Below the 180 s after which the Linux driver gives up. */
const DEFAULT_PATIENCE_MS = 150_000;
const DEFAULT_CLOSE_TIMEOUT_MS = 30_000;
const READER_PIN_MS = 600_000;
/** Of the local space, at most so much holds chunks of packs; segments have the rest. */
const CHUNK_SHARE = 0.5;

interface StoredHead {
  readonly head: Head;
  readonly etag: string;
}

/**
 * Opens a store in an object store, or makes one there: with the log of the local folder when it is
 * the newest, from the object store alone when the folder is empty. @throws UsageError
 */
export async function openPackedStore(options: PackedStoreOptions): Promise<PackedStore> {
  const opening = new PackedStoreOpening(options);
  try {
    return await (options.readOnly === true ? opening.openReader() : opening.openWriter());
  } catch (error) {
    await opening.giveUp();
    if (error instanceof LeaseLost) {
      throw new UsageError(`${options.objects.description}: ${error.message}`, { cause: error });
    }
    if (error instanceof ObjectFault) {
      throw new UsageError(`the store cannot be opened: ${error.message}`, { cause: error });
    }
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    const folder = options.disk.description;
    throw new UsageError(`the folder ${folder} cannot be used (${code}): check its files`, {
      cause: error,
    });
  }
}

class PackedStoreOpening {
  readonly #options: PackedStoreOptions;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  readonly #patienceMs: number;
  readonly #logMessage: (level: "warn" | "error", message: string) => void;
  #marker: MarkerFile | undefined;
  #lease: Lease | undefined;
  #pin: OwnPin | undefined;

  constructor(options: PackedStoreOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
    this.#logMessage = options.log ?? (() => {});
  }

  /** After an error: nothing stays behind but what the next attempt finds its way with. */
  async giveUp(): Promise<void> {
    await this.#lease?.release();
    await this.#pin?.remove();
    this.#abort.abort();
    await this.#marker?.close();
    await this.#options.objects.close();
    await this.#options.unlock?.();
  }

  async openWriter(): Promise<PackedStore> {
    const { objects, disk, host } = this.#options;
    const markerFile = await this.#openMarker();
    // A folder that was a reader's has no owner yet.
    const owner = markerFile.current?.owner || randomUUID();
    const lease = await this.#acquire(owner);
    this.#lease = lease;
    lease.keep();
    const { stored, plan } = await this.#fenceHead(markerFile, owner, lease);
    const head = stored?.head;
    const base = { owner, epoch: lease.epoch, headEpoch: head === undefined ? 0 : lease.epoch };
    const runs = this.#runLibrary();
    const segments = head === undefined ? [] : await this.#segmentsOf(head, runs);
    if (plan === "attach" && head !== undefined) {
      await clearLocal(disk);
      await layLocal(disk, objects, head, segments);
      await markerFile.write({ ...base, storeId: head.storeId, state: "attached" });
    }
    let packedDisk: PackedDisk | undefined;
    const log = new RemoteLog(head, segments, () => packedDisk as PackedDisk, this.#clock);
    const opened = await this.#openLog(head, segments, runs, log, (made) => {
      packedDisk = made;
    });
    const superblock = log.superblock;
    if (superblock === undefined) throw new Error("the log was not opened");
    if (log.durableSequence < (head?.sequence ?? 0)) {
      throw new UsageError(
        `the log in ${disk.description} ends before the store does: its disk lost writes; ` +
          `move ${disk.description} away to attach the store anew`,
      );
    }
    const storeId = Buffer.from(superblock.storeId).toString("hex");
    opened.cache.storeId = storeId;
    const marker: Marker = { ...base, storeId, state: "attached" };
    await markerFile.write(marker);
    const pins = new ReaderPins(objects, this.#clock);
    const isOwner = (): boolean => lease.isValid;
    const { epoch } = lease;
    const garbage = new PackGarbage({ objects, pins, clock: this.#clock, epoch, isOwner });
    const index = new IndexWriter(
      objects,
      log,
      opened.entries,
      superblock.storeId,
      head?.runs ?? [],
    );
    let remote: RemoteSide | undefined;
    const uploader = new Uploader(
      {
        objects,
        log,
        lease,
        index,
        garbage,
        clock: this.#clock,
        storeId: superblock.storeId,
        segmentBytes: superblock.segmentBytes,
        frameSeed: frameSeedOf(superblock.storeId),
        writer: host,
        packBytes: this.#options.packBytes ?? DEFAULT_PACK_BYTES,
        intervalMs: this.#options.uploadIntervalMs ?? DEFAULT_UPLOAD_INTERVAL_MS,
        signal: this.#abort.signal,
        onTrouble: (fault) => remote?.troubled(fault),
        onHead: (newHead) => remote?.headStored(newHead),
        onFailure: (error) => remote?.fence(error.message),
      },
      stored,
    );
    remote = new RemoteSide({
      description: objects.description,
      objects,
      log,
      lease,
      uploader,
      garbage,
      clock: this.#clock,
      abort: this.#abort,
      cachedBytes: () => opened.disk.localBytes + opened.cache.usedBytes,
      logMessage: this.#logMessage,
      closeTimeoutMs: this.#options.closeTimeoutMs ?? DEFAULT_CLOSE_TIMEOUT_MS,
    });
    if (head !== undefined) void this.#sweepOrphans(garbage, head);
    uploader.work();
    return this.#makeStore(opened, remote, async (isClean) => {
      if (isClean) await markerFile.write({ ...marker, headEpoch: epoch, state: "clean" });
    });
  }

  async #acquire(owner: string): Promise<Lease> {
    const { objects, host, takeOver = false, leaseMs = DEFAULT_LEASE_MS } = this.#options;
    const headEpoch = (await this.#readHead())?.head.epoch ?? 0;
    return Lease.acquire(objects, {
      owner,
      host,
      headEpoch,
      durationMs: leaseMs,
      clock: this.#clock,
      takeOver,
      signal: this.#abort.signal,
      onWait: (holder: LeaseRecord) => {
        this.#logMessage(
          "warn",
          `${objects.description} is in use by ${holder.host}: waiting until its lease of ` +
            `${Math.ceil(holder.durationMs / 1000)} s runs out; when that machine is certainly ` +
            "stopped, take_over = true does not wait",
        );
      },
    });
  }

  /** Puts a head of our own epoch in place of the last one: an owner before us can write none. */
  async #fenceHead(
    markerFile: MarkerFile,
    owner: string,
    lease: Lease,
  ): Promise<{ stored: StoredHead | undefined; plan: "continue" | "attach" }> {
    const { objects, disk, host } = this.#options;
    // How the folder was left: what is written below says how it is to be used.
    const left = markerFile.current;
    for (;;) {
      const found = await this.#readHead();
      if (found !== undefined && found.head.epoch >= lease.epoch) {
        const { writer, epoch } = found.head;
        throw new LeaseLost(`${writer} has written to the store (epoch ${epoch})`);
      }
      const plan = await planLocal(disk, left, found?.head, objects.description);
      await markerFile.write({
        owner,
        storeId: found?.head.storeId ?? left?.storeId ?? "",
        epoch: lease.epoch,
        headEpoch: found?.head.epoch ?? 0,
        // A folder without writes of its own stays one until the store is certainly ours.
        state: plan === "attach" ? "attaching" : left?.state === "clean" ? "clean" : "attached",
      });
      if (found === undefined) return { stored: undefined, plan };
      const written = new Date(this.#clock.wallMs()).toISOString();
      const counter = found.head.counter + 1;
      const head = { ...found.head, epoch: lease.epoch, counter, writer: host, written };
      try {
        const etag = await putHead(objects, head, encodeHead(head), found.etag);
        return { stored: { head, etag }, plan };
      } catch (error) {
        // An owner before us was faster, once more; it has lost the lease.
        if (!(error instanceof LeaseLost) || !lease.isValid) throw error;
      }
    }
  }

  async #readHead(): Promise<StoredHead | undefined> {
    const { objects } = this.#options;
    try {
      const { data, etag } = await objects.get(HEAD_KEY);
      return { head: decodeHead(data, objects.description), etag };
    } catch (error) {
      if (objectFaultCode(error) === "missing") return undefined;
      throw error;
    }
  }

  async openReader(): Promise<PackedStore> {
    const { objects, disk, host } = this.#options;
    const markerFile = await this.#openMarker();
    const { current } = markerFile;
    if (current === undefined) await refuseOtherLog(disk, objects.description);
    if (current !== undefined && current.state !== "attaching") {
      throw new UsageError(
        `${disk.description} is the folder of a writer of the store: name another one for reading`,
      );
    }
    this.#pin = await OwnPin.set({
      objects,
      clock: this.#clock,
      id: randomUUID(),
      host,
      durationMs: READER_PIN_MS,
      signal: this.#abort.signal,
      onLost: () => {
        this.#logMessage(
          "error",
          `${objects.description}: this reader was taken for dead, and what it reads may have been ` +
            "deleted: restart it",
        );
      },
    });
    const stored = await this.#readHead();
    if (stored === undefined) {
      throw new UsageError(`there is no store in ${objects.description}: check bucket and prefix`);
    }
    const { head } = stored;
    await markerFile.write({
      owner: "",
      storeId: head.storeId,
      epoch: 0,
      headEpoch: 0,
      state: "attaching",
    });
    const runs = this.#runLibrary();
    const segments = await this.#segmentsOf(head, runs);
    await clearLocal(disk);
    await layLocal(disk, objects, head, segments);
    const opened = await this.#openLog(head, segments, runs, undefined, () => {});
    await this.#pin.reads(head.counter);
    return this.#makeStore(opened, undefined, () => Promise.resolve());
  }

  async #openMarker(): Promise<MarkerFile> {
    this.#marker = await MarkerFile.open(this.#options.disk);
    return this.#marker;
  }

  #runLibrary(): RunLibrary {
    return new RunLibrary(this.#options.objects, this.#clock, this.#patienceMs, this.#abort.signal);
  }

  async #segmentsOf(head: Head, runs: RunLibrary): Promise<RemoteSegment[]> {
    const inRuns = await runs.open(head.runs);
    return [...inRuns, ...head.segments].toSorted((left, right) => left.number - right.number);
  }

  async #openLog(
    head: Head | undefined,
    segments: readonly RemoteSegment[],
    runs: RunLibrary,
    watcher: RemoteLog | undefined,
    made: (disk: PackedDisk) => void,
  ): Promise<OpenedLog> {
    const { objects, disk: local, reader: notes } = this.#options;
    const diskCacheBytes = this.#options.diskCacheBytes ?? DEFAULT_DISK_CACHE_BYTES;
    const cacheId = head?.storeId ?? "";
    const cache = await ChunkCache.open(local, cacheId, diskCacheBytes * CHUNK_SHARE);
    const reader = new PackReader({
      objects,
      cache,
      clock: this.#clock,
      patienceMs: this.#patienceMs,
      signal: this.#abort.signal,
    });
    const entries = new EntriesSource(reader, runs);
    const segmentBytes = head?.segmentBytes ?? this.#options.segmentBytes ?? MAX_SEGMENT_BYTES;
    const storeId = head === undefined ? new Uint8Array(16) : storeIdOf(head);
    const isKept = (number: number): boolean => watcher?.isKept(number) ?? true;
    const disk = await PackedDisk.open(
      { local, reader, entries, storeId, segmentBytes, isKept },
      segments,
    );
    made(disk);
    entries.expect(segments.filter(({ number }) => disk.isAway(number)));
    const size = head === undefined ? { segmentBytes } : {};
    const inner = await FileStore.open({
      disk,
      reader: notes,
      ...size,
      ...(watcher === undefined ? {} : { watcher }),
    });
    entries.settle();
    return { inner, disk, cache, reader, entries };
  }

  async #sweepOrphans(garbage: PackGarbage, head: Head): Promise<void> {
    const { objects } = this.#options;
    const runs = this.#runLibrary();
    try {
      const segments = await this.#segmentsOf(head, runs);
      const named = new Set(segments.flatMap(({ parts }) => parts.map(packKey)));
      for (const run of head.runs) named.add(runKey(run));
      await garbage.sweepOrphans(named, head.counter);
    } catch (error) {
      if (!(error instanceof ObjectFault)) throw error;
      this.#logMessage("warn", `${objects.description}: no search for orphans: ${error.message}`);
    }
  }

  #makeStore(
    opened: OpenedLog,
    remote: RemoteSide | undefined,
    markClean: (isClean: boolean) => Promise<void>,
  ): PackedStore {
    const { objects, disk, unlock, maxDirtyBytes, diskCacheBytes } = this.#options;
    return new PackedStore({
      ...opened,
      description: `${objects.description} behind ${disk.description}`,
      remote,
      maxDirtyBytes: maxDirtyBytes ?? DEFAULT_MAX_DIRTY_BYTES,
      diskCacheBytes: diskCacheBytes ?? DEFAULT_DISK_CACHE_BYTES,
      markClean,
      release: async () => {
        await this.#pin?.remove();
        this.#abort.abort();
        await this.#marker?.close();
        await objects.close();
        await unlock?.();
      },
    });
  }
}

interface OpenedLog {
  readonly inner: FileStore;
  readonly disk: PackedDisk;
  readonly cache: ChunkCache;
  readonly reader: PackReader;
  readonly entries: EntriesSource;
}
