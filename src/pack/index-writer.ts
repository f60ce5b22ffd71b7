import { ObjectFault, type ObjectStore } from "../object/object-store.ts";
import type { EntriesSource } from "./entries-source.ts";
import type { RunReference } from "./head.ts";
import { encodeRun, type RunContent } from "./index-run.ts";
import { type ObjectId, runKey } from "./pack-names.ts";
import type { RemoteLog } from "./remote-log.ts";
import type { RemoteSegment } from "./remote-segment.ts";

/** Sealed segments that become one index object. */
const SEGMENTS_A_RUN = 16;

interface Run extends ObjectId {
  /** The segments as the run describes them: one that has changed since is not in it any more. */
  readonly segments: RemoteSegment[];
}

/** Keeps the indexes: which segments a head describes itself, and which ones in which run. */
export class IndexWriter {
  readonly #objects: ObjectStore;
  readonly #log: RemoteLog;
  readonly #entries: EntriesSource;
  readonly #storeId: Uint8Array;
  #runs: Run[] = [];
  #removed: string[] = [];

  constructor(
    objects: ObjectStore,
    log: RemoteLog,
    entries: EntriesSource,
    storeId: Uint8Array,
    runs: readonly RunReference[],
  ) {
    this.#objects = objects;
    this.#log = log;
    this.#entries = entries;
    this.#storeId = storeId;
    this.#runs = runs.map(({ epoch, counter, segments }) => ({
      epoch,
      counter,
      segments: segments
        .map((number) => log.remote.get(number))
        .filter((segment) => segment !== undefined),
    }));
  }

  /** What a head says of the segments that there are now. */
  describe(): { runs: RunReference[]; segments: RemoteSegment[]; removedRuns: string[] } {
    const { remote } = this.#log;
    const inRun = new Set<number>();
    const kept: Run[] = [];
    for (const run of this.#runs) {
      const live = run.segments.filter((segment) => remote.get(segment.number) === segment);
      if (live.length < run.segments.length / 2 || live.length === 0) {
        // Its live segments are described by the head, until they are in a new run.
        this.#removed.push(runKey(run));
        continue;
      }
      for (const { number } of live) inRun.add(number);
      kept.push(run);
    }
    this.#runs = kept;
    const removedRuns = this.#removed;
    this.#removed = [];
    const segments = [...remote.values()].filter(({ number }) => !inRun.has(number));
    segments.sort((left, right) => left.number - right.number);
    const runs = kept.map(({ epoch, counter, segments: all }) => ({
      epoch,
      counter,
      segments: all.filter(({ number }) => inRun.has(number)).map(({ number }) => number),
    }));
    return { runs, segments, removedRuns };
  }

  /** Makes a run when enough sealed segments are in none; the next head names it. */
  async grow(nextId: () => ObjectId): Promise<void> {
    const inRuns = new Set(this.#runs.flatMap(({ segments }) => segments));
    const loose = [...this.#log.remote.values()]
      .filter((segment) => segment.isSealed && !inRuns.has(segment))
      .toSorted((left, right) => left.number - right.number);
    if (loose.length < SEGMENTS_A_RUN) return;
    const segments = loose.slice(0, SEGMENTS_A_RUN);
    try {
      const contents: RunContent[] = [];
      for (const segment of segments) {
        contents.push({ segment, entries: await this.#entries.load(segment) });
      }
      const id = nextId();
      await this.#objects.putIfAbsent(runKey(id), encodeRun(this.#storeId, contents));
      this.#runs.push({ ...id, segments });
    } catch (error) {
      // Without the run the head is a little longer; a later head brings another attempt.
      if (!(error instanceof ObjectFault)) throw error;
    }
  }
}
