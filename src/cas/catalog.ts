import type { NoteReader } from "../blob/blob-store.ts";
import { hashFromHex, hashToHex, NULL_HASH } from "../blob/hash.ts";
import {
  decodeCatalogNote,
  decodeHead,
  encodeCatalogNote,
  encodeCut,
  joinNotes,
  NoteKind,
  noteKind,
  noteVolume,
  overlayNotes,
  splitNotes,
} from "./notes.ts";
import { type VolumeRecord, VolumeState } from "./volume-state.ts";

/** A snapshot: the id of a disk's whole content, and when and why it was taken. */
export interface SnapshotRecord {
  /** Counts the snapshots of the store: "17". */
  readonly id: string;
  /** Hash of the root descriptor, in hexadecimal: equal for equal disks. */
  readonly root_hash: string;
  /** ISO 8601. */
  readonly timestamp: string;
  readonly description: string;
  /** The volume's name when it was taken. */
  readonly volume: string;
  /** Bytes. */
  readonly size: number;
  /** The snapshot of the same volume that it follows. */
  readonly parent: string | null;
  /** Why it was taken. */
  readonly trigger: SnapshotTrigger;
}

export type SnapshotTrigger = "manual" | "timer" | "rollback" | "import" | "receive";

export type CatalogOperation =
  | { readonly op: "volume"; readonly record: VolumeRecord; readonly head?: HeadText }
  | { readonly op: "delete-volume"; readonly id: number }
  | { readonly op: "resize"; readonly id: number; readonly sizeBytes: number }
  | { readonly op: "snapshot"; readonly record: SnapshotRecord }
  /** The content of a volume descends from this snapshot. */
  | { readonly op: "parent"; readonly id: number; readonly snapshot: string }
  | { readonly op: "scrub"; readonly scrub: ScrubState }
  | { readonly op: "delete-snapshot"; readonly id: string }
  | { readonly op: "counters"; readonly nextVolume: number; readonly nextSnapshot: number };

/** How far the scrub of the store has come. */
export interface ScrubState {
  /** Where it goes on; 0: at the beginning. */
  readonly cursor: number;
  /** When the last complete pass ended; ISO 8601. */
  readonly completed: string | null;
}

export interface HeadText {
  readonly top: string;
  readonly height: number;
}

/** Everything that the log says of volumes and snapshots, in memory. */
export class Catalog implements NoteReader {
  readonly volumes = new Map<number, VolumeState>();
  /** In the order in which they were taken. */
  readonly snapshots = new Map<string, SnapshotRecord>();
  nextVolume = 1;
  nextSnapshot = 1;
  /** Volumes and snapshots, since the store was opened. */
  deletions = 0;
  scrub: ScrubState = { cursor: 0, completed: null };

  image(bytes: Uint8Array): void {
    for (const note of splitNotes(bytes)) this.note(note);
  }

  note(bytes: Uint8Array): void {
    const kind = noteKind(bytes);
    if (kind === NoteKind.catalog) {
      this.apply(decodeCatalogNote(bytes) as CatalogOperation);
      return;
    }
    const volume = this.volumes.get(noteVolume(bytes));
    // A change that was on its way when its volume was deleted.
    if (volume === undefined) return;
    if (kind === NoteKind.changes) volume.apply(bytes);
    else if (kind === NoteKind.cut) volume.cut();
    else if (kind === NoteKind.head) volume.adopt(decodeHead(bytes));
    else if (kind === NoteKind.reset) volume.reset(decodeHead(bytes));
  }

  apply(operation: CatalogOperation): void {
    switch (operation.op) {
      case "volume":
        this.#addVolume(operation.record, operation.head);
        break;
      case "delete-volume":
        this.volumes.delete(operation.id);
        this.deletions++;
        break;
      case "resize":
        this.volumes.get(operation.id)?.grow(operation.sizeBytes);
        break;
      case "snapshot":
        this.snapshots.set(operation.record.id, operation.record);
        this.nextSnapshot = Math.max(this.nextSnapshot, Number(operation.record.id) + 1);
        break;
      case "parent":
        this.#setParent(operation.id, operation.snapshot);
        break;
      case "scrub":
        this.scrub = operation.scrub;
        break;
      case "delete-snapshot":
        this.snapshots.delete(operation.id);
        this.deletions++;
        break;
      case "counters":
        this.nextVolume = operation.nextVolume;
        this.nextSnapshot = operation.nextSnapshot;
        break;
    }
  }

  #setParent(id: number, parent: string): void {
    const state = this.volumes.get(id);
    if (state !== undefined) state.record = { ...state.record, parent };
  }

  #addVolume(record: VolumeRecord, head: HeadText | undefined): void {
    const state = new VolumeState(record);
    if (head !== undefined) {
      state.base = { top: hashFromHex(head.top) ?? NULL_HASH, height: head.height };
    }
    this.volumes.set(record.id, state);
    this.nextVolume = Math.max(this.nextVolume, record.id + 1);
  }

  volumeNamed(name: string): VolumeState | undefined {
    for (const volume of this.volumes.values()) if (volume.record.name === name) return volume;
    return undefined;
  }

  snapshotsOf(volumeName: string): SnapshotRecord[] {
    return [...this.snapshots.values()].filter(({ volume }) => volume === volumeName);
  }

  /** The notes that make this state anew. */
  encode(): Uint8Array {
    const { nextVolume, nextSnapshot, scrub } = this;
    const notes = [
      encodeCatalogNote({ op: "counters", nextVolume, nextSnapshot }),
      encodeCatalogNote({ op: "scrub", scrub }),
    ];
    for (const record of this.snapshots.values()) {
      notes.push(encodeCatalogNote({ op: "snapshot", record }));
    }
    for (const state of this.volumes.values()) {
      const { record, base, frozen, current } = state;
      const head = { top: hashToHex(base.top), height: base.height };
      notes.push(encodeCatalogNote({ op: "volume", record, head }));
      if (frozen !== undefined) {
        notes.push(...overlayNotes(record.id, frozen), encodeCut(record.id));
      }
      notes.push(...overlayNotes(record.id, current));
    }
    return joinNotes(notes);
  }
}
