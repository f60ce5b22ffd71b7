import { NULL_HASH } from "../blob/hash.ts";
import { Geometry } from "./geometry.ts";
import { applyChanges, type Head } from "./notes.ts";
import { Found, Overlay } from "./overlay.ts";

/** What is kept of a volume in the catalog. */
export interface VolumeRecord {
  readonly id: number;
  readonly name: string;
  readonly blockBytes: number;
  readonly sizeBytes: number;
  /** ISO 8601. */
  readonly created: string;
  /** The snapshot that it was cloned from. */
  readonly origin?: string;
  /** The snapshot that its content descends from. */
  readonly parent?: string;
}

/**
 * A volume as the log describes it: a tree, and the changes since it was built. Changes before the
 * last cut (`frozen`) are being built into the next tree. The same calls, in the order of the log,
 * make it while the volume is used and when the store is opened.
 */
export class VolumeState {
  record: VolumeRecord;
  geometry: Geometry;
  base: { readonly top: Uint8Array; readonly height: number };
  current: Overlay;
  frozen: Overlay | undefined;
  /** Counts the trees that it had: a page of an older tree is of no use. */
  generation = 0;
  /**
   * Called when another tree holds, or another size. `areLeavesStale`: leaves of the old tree may
   * have changed without having been built.
   */
  onBaseChanged: ((areLeavesStale: boolean) => void) | undefined;

  constructor(record: VolumeRecord) {
    this.record = record;
    this.geometry = new Geometry(record.sizeBytes, record.blockBytes);
    this.base = { top: NULL_HASH, height: this.geometry.height };
    this.current = new Overlay(this.geometry.height);
  }

  get id(): number {
    return this.record.id;
  }

  /** Nothing has changed since the tree was built. */
  get isClean(): boolean {
    return this.current.isEmpty && this.frozen === undefined;
  }

  get dirtyBlocks(): number {
    return this.current.entryCount + (this.frozen?.entryCount ?? 0);
  }

  apply(changes: Uint8Array): void {
    applyChanges(changes, this.current);
  }

  /** What has changed so far goes into the next tree; a cut before that was left behind as well. */
  cut(): void {
    if (this.frozen === undefined) this.frozen = this.current;
    else this.frozen.absorb(this.current);
    this.current = new Overlay(this.geometry.height);
  }

  /** The tree with everything before the last cut. */
  adopt(head: Head): void {
    const areLeavesStale = this.frozen?.hasClearedNodes ?? false;
    this.#setBase(head);
    this.onBaseChanged?.(areLeavesStale);
  }

  #setBase(head: Head): void {
    this.base = { top: head.top, height: head.height };
    this.frozen = undefined;
    this.generation++;
  }

  /** Another content and size altogether. */
  reset(head: Head): void {
    this.record = { ...this.record, sizeBytes: head.sizeBytes };
    this.geometry = new Geometry(head.sizeBytes, this.record.blockBytes);
    this.current = new Overlay(this.geometry.height);
    this.#setBase(head);
    this.onBaseChanged?.(true);
  }

  /** More blocks at the end, all zero. */
  grow(sizeBytes: number): void {
    this.record = { ...this.record, sizeBytes };
    this.geometry = new Geometry(sizeBytes, this.record.blockBytes);
    this.current.raise(this.geometry.height);
    this.frozen?.raise(this.geometry.height);
    this.onBaseChanged?.(false);
  }

  /** What has changed of a block; `nothing`: the tree holds it. */
  lookup(block: number, target: Uint8Array): Found {
    const found = this.current.isEmpty ? Found.nothing : this.current.lookup(block, target, 0);
    if (found !== Found.nothing || this.frozen === undefined) return found;
    return this.frozen.lookup(block, target, 0);
  }
}
