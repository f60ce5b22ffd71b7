import type { ObjectId } from "./pack-names.ts";

/** A part of a segment that is in a pack: the bytes from `start` to `end` of the segment. */
export interface PackPart extends ObjectId {
  readonly start: number;
  readonly end: number;
  /** Blobs in it. */
  readonly entryCount: number;
}

/** What the object store has of a segment of the log. Never changed: a new one replaces it. */
export interface RemoteSegment {
  readonly number: number;
  readonly firstSequence: number;
  /** Header checksum of the frame before the first one. */
  readonly previousChecksum: number;
  /** Of the log when the segment began. */
  readonly logEpoch: number;
  /** From the beginning of the segment on, without gaps. */
  readonly parts: readonly PackPart[];
  readonly lastSequence: number;
  readonly lastChecksum: number;
  /** Of the blob entries of all parts, one after the other. */
  readonly entriesChecksum: number;
  /** It takes no more frames, and all of them are in the parts. */
  readonly isSealed: boolean;
}

export function endOf(segment: RemoteSegment): number {
  return segment.parts.at(-1)?.end ?? 0;
}

export function entryCountOf(segment: RemoteSegment): number {
  return segment.parts.reduce((sum, { entryCount }) => sum + entryCount, 0);
}

/** As it stands in a head and in an index: arrays of numbers, in the order of the fields above. */
export type SegmentText = readonly [
  number: number,
  firstSequence: number,
  previousChecksum: number,
  logEpoch: number,
  lastSequence: number,
  lastChecksum: number,
  entriesChecksum: number,
  isSealed: 0 | 1,
  parts: readonly (readonly [
    epoch: number,
    counter: number,
    start: number,
    end: number,
    entryCount: number,
  ])[],
];

export function segmentText(segment: RemoteSegment): SegmentText {
  return [
    segment.number,
    segment.firstSequence,
    segment.previousChecksum,
    segment.logEpoch,
    segment.lastSequence,
    segment.lastChecksum,
    segment.entriesChecksum,
    segment.isSealed ? 1 : 0,
    segment.parts.map(({ epoch, counter, start, end, entryCount }) => [
      epoch,
      counter,
      start,
      end,
      entryCount,
    ]),
  ];
}

export function segmentOfText(text: SegmentText): RemoteSegment {
  const [number, firstSequence, previousChecksum, logEpoch, lastSequence, lastChecksum] = text;
  return {
    number,
    firstSequence,
    previousChecksum,
    logEpoch,
    lastSequence,
    lastChecksum,
    entriesChecksum: text[6],
    isSealed: text[7] === 1,
    parts: text[8].map(([epoch, counter, start, end, entryCount]) => ({
      epoch,
      counter,
      start,
      end,
      entryCount,
    })),
  };
}
