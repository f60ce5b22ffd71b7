import { crc32 } from "node:zlib";
import { BLOB_ENTRY_BYTES } from "../blob/segment-format.ts";
import { ObjectFault } from "../object/object-store.ts";
import { PACK_BODY_OFFSET } from "./pack-format.ts";
import type { PackReader } from "./pack-reader.ts";
import { entryCountOf, type RemoteSegment } from "./remote-segment.ts";
import type { RunLibrary } from "./index-run.ts";

/** Segments whose entries are fetched before anybody asks. */
const AHEAD = 8;

/** The blob entries of segments in the object store: out of an index, or out of their packs. */
export class EntriesSource {
  readonly #reader: PackReader;
  readonly #runs: RunLibrary;
  readonly #loads = new Map<number, Promise<Uint8Array>>();
  /** The order in which they will be asked for. */
  #order: readonly RemoteSegment[] = [];

  constructor(reader: PackReader, runs: RunLibrary) {
    this.#reader = reader;
    this.#runs = runs;
  }

  /** Begins to fetch in this order what `load` will be asked for. */
  expect(segments: readonly RemoteSegment[]): void {
    this.#order = segments;
    this.#fetchAhead(0);
  }

  #fetchAhead(from: number): void {
    for (const segment of this.#order.slice(from, from + AHEAD)) {
      if (this.#loads.has(segment.number)) continue;
      const load = this.#load(segment);
      load.catch(() => undefined);
      this.#loads.set(segment.number, load);
    }
  }

  /** Nobody will ask in order any more. */
  settle(): void {
    this.#order = [];
    this.#loads.clear();
    this.#runs.forget();
  }

  /** All entries of a segment, checked. @throws ObjectFault */
  async load(segment: RemoteSegment): Promise<Uint8Array> {
    const place = this.#order.findIndex(({ number }) => number === segment.number);
    if (place >= 0) this.#fetchAhead(place);
    const begun = this.#loads.get(segment.number);
    this.#loads.delete(segment.number);
    return begun ?? this.#load(segment);
  }

  async #load(segment: RemoteSegment): Promise<Uint8Array> {
    const inRun = await this.#runs.entriesOf(segment).catch((error: unknown) => {
      if (error instanceof ObjectFault) return undefined;
      throw error;
    });
    if (inRun !== undefined && crc32(inRun) === segment.entriesChecksum) return inRun;
    const tables = await Promise.all(
      segment.parts.map((part) => {
        const lengthBytes = part.entryCount * BLOB_ENTRY_BYTES;
        if (lengthBytes === 0) return Promise.resolve(new Uint8Array(0));
        return this.#reader.fetch(part, PACK_BODY_OFFSET + part.end - part.start, lengthBytes);
      }),
    );
    const entries = Buffer.concat(tables);
    const expected = entryCountOf(segment) * BLOB_ENTRY_BYTES;
    if (entries.length === expected && crc32(entries) === segment.entriesChecksum) return entries;
    throw new ObjectFault("corrupt", `the index of segment ${segment.number} is damaged`);
  }
}
