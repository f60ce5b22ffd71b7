import { copyBytes } from "../blob/bytes.ts";
import { HASH_BYTES } from "../blob/hash.ts";
import type { Overlay } from "./overlay.ts";
import type { ZeroRange } from "./write-group.ts";

/** The notes that volumes leave in the log; see docs/formats/volume-notes.md. */
export const NoteKind = { changes: 1, cut: 2, head: 3, reset: 4, catalog: 5 } as const;

const CHANGES_HEADER_BYTES = 12;
const RANGE_BYTES = 16;
const ENTRY_BYTES = 8 + HASH_BYTES;

/** Where a volume's tree hangs. */
export interface Head {
  readonly top: Uint8Array;
  readonly height: number;
  readonly sizeBytes: number;
}

function putUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x100000000, true);
  view.setUint32(at + 4, Math.floor(value / 0x100000000), true);
}

function getUint64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x100000000;
}

function noteView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function noteKind(note: Uint8Array): number {
  return note[0];
}

export function noteVolume(note: Uint8Array): number {
  return noteView(note).getUint32(4, true);
}

/** Zeroed ranges, then blocks with their new names: what one group changes. */
export function encodeChanges(
  volume: number,
  ranges: readonly ZeroRange[],
  blocks: Map<number, number>,
  hashes: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(
    CHANGES_HEADER_BYTES + ranges.length * RANGE_BYTES + blocks.size * ENTRY_BYTES,
  );
  const view = noteView(bytes);
  bytes[0] = NoteKind.changes;
  view.setUint32(4, volume, true);
  view.setUint32(8, ranges.length, true);
  let at = CHANGES_HEADER_BYTES;
  for (const { first, count } of ranges) {
    putUint64(view, at, first);
    putUint64(view, at + 8, count);
    at += RANGE_BYTES;
  }
  blocks.forEach((slot, block) => {
    putUint64(view, at, block);
    copyBytes(hashes, slot * HASH_BYTES, bytes, at + 8, HASH_BYTES);
    at += ENTRY_BYTES;
  });
  return bytes;
}

export function applyChanges(note: Uint8Array, overlay: Overlay): void {
  const view = noteView(note);
  const ranges = view.getUint32(8, true);
  let at = CHANGES_HEADER_BYTES;
  for (let range = 0; range < ranges; range++) {
    overlay.clear(getUint64(view, at), getUint64(view, at + 8));
    at += RANGE_BYTES;
  }
  for (; at < note.length; at += ENTRY_BYTES) overlay.set(getUint64(view, at), note, at + 8);
}

/** An overlay as notes of changes, for an image: each holds at most so many entries. */
const ENTRIES_A_NOTE = 16384;

export function overlayNotes(volume: number, overlay: Overlay): Uint8Array[] {
  const notes: Uint8Array[] = [];
  // Written in place: all changes of all volumes are encoded in one turn of the event loop.
  const note = new Uint8Array(CHANGES_HEADER_BYTES + ENTRIES_A_NOTE * (RANGE_BYTES + ENTRY_BYTES));
  const view = noteView(note);
  note[0] = NoteKind.changes;
  view.setUint32(4, volume, true);
  let ranges = 0;
  let entries = 0;
  let end = CHANGES_HEADER_BYTES;
  const finish = (): void => {
    view.setUint32(8, ranges, true);
    if (ranges + entries > 0) notes.push(note.slice(0, end));
    ranges = 0;
    entries = 0;
    end = CHANGES_HEADER_BYTES;
  };
  overlay.visit({
    cleared: (first, count) => {
      // In a note the ranges come before the blocks.
      if (entries > 0 || ranges === ENTRIES_A_NOTE) finish();
      putUint64(view, end, first);
      putUint64(view, end + 8, count);
      end += RANGE_BYTES;
      ranges++;
    },
    entry: (block, source, offset) => {
      if (entries === ENTRIES_A_NOTE) finish();
      putUint64(view, end, block);
      for (let byte = 0; byte < HASH_BYTES; byte++) note[end + 8 + byte] = source[offset + byte];
      end += ENTRY_BYTES;
      entries++;
    },
  });
  finish();
  return notes;
}

/** From here on changes belong to the next tree. */
export function encodeCut(volume: number): Uint8Array {
  const bytes = new Uint8Array(8);
  bytes[0] = NoteKind.cut;
  noteView(bytes).setUint32(4, volume, true);
  return bytes;
}

/** `head`: the tree that holds everything before the last cut. `reset`: the whole volume now. */
export function encodeHead(kind: "head" | "reset", volume: number, head: Head): Uint8Array {
  const bytes = new Uint8Array(56);
  const view = noteView(bytes);
  bytes[0] = NoteKind[kind];
  view.setUint32(4, volume, true);
  putUint64(view, 8, head.sizeBytes);
  view.setUint32(16, head.height, true);
  bytes.set(head.top, 24);
  return bytes;
}

export function decodeHead(note: Uint8Array): Head {
  const view = noteView(note);
  return {
    sizeBytes: getUint64(view, 8),
    height: view.getUint32(16, true),
    top: note.slice(24, 56),
  };
}

/** Operations on the catalog are rare, and are JSON. */
export function encodeCatalogNote(operation: unknown): Uint8Array {
  const text = Buffer.from(JSON.stringify(operation));
  const bytes = new Uint8Array(4 + text.length);
  bytes[0] = NoteKind.catalog;
  bytes.set(text, 4);
  return bytes;
}

export function decodeCatalogNote(note: Uint8Array): unknown {
  return JSON.parse(Buffer.from(note.subarray(4)).toString());
}

/** An image is the notes that make the state anew, each with its length before it. */
export function joinNotes(notes: readonly Uint8Array[]): Uint8Array {
  const total = notes.reduce((sum, note) => sum + 4 + note.length, 0);
  const bytes = new Uint8Array(total);
  const view = noteView(bytes);
  let at = 0;
  for (const note of notes) {
    view.setUint32(at, note.length, true);
    bytes.set(note, at + 4);
    at += 4 + note.length;
  }
  return bytes;
}

export function* splitNotes(image: Uint8Array): Generator<Uint8Array> {
  const view = noteView(image);
  for (let at = 0; at + 4 <= image.length;) {
    const length = view.getUint32(at, true);
    yield image.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
}
