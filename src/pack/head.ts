import { UsageError } from "../errors.ts";
import type { LogPosition } from "../blob/segment-format.ts";
import { decodeDocument, encodeDocument } from "./document.ts";
import type { ObjectId } from "./pack-names.ts";
import {
  type RemoteSegment,
  segmentOfText,
  type SegmentText,
  segmentText,
} from "./remote-segment.ts";

/** An index of several sealed segments; see index-run.ts. */
export interface RunReference extends ObjectId {
  /** Numbers of the segments in it that are still wanted. */
  readonly segments: readonly number[];
}

/**
 * The one object that says what the store holds: a prefix of the log up to a frame, and where its
 * segments are. Everything that it names was stored before it.
 */
export interface Head {
  /** Of the store; in hexadecimal. */
  readonly storeId: string;
  readonly segmentBytes: number;
  /** Of the lease under which it was written. */
  readonly epoch: number;
  /** Counts the heads of the store. */
  readonly counter: number;
  /** Who wrote it, for people. */
  readonly writer: string;
  /** ISO 8601. */
  readonly written: string;
  /** The last frame that is in the store. */
  readonly sequence: number;
  /** How often the log was opened for writing. */
  readonly logEpoch: number;
  readonly checkpoint: LogPosition;
  readonly previousCheckpoint: LogPosition;
  readonly runs: readonly RunReference[];
  /** The segments that are in no run, by number. */
  readonly segments: readonly RemoteSegment[];
}

type HeadText = Omit<Head, "segments"> & { readonly segments: readonly SegmentText[] };

export function encodeHead(head: Head): Uint8Array {
  const text: HeadText = { ...head, segments: head.segments.map(segmentText) };
  return encodeDocument("head", text);
}

/** @throws UsageError when it is none, or one of a newer version */
export function decodeHead(bytes: Uint8Array, description: string): Head {
  const text = decodeDocument("head", bytes) as HeadText | "newer" | undefined;
  if (text === "newer") {
    throw new UsageError(`${description} was written by a newer version of aoed: use that version`);
  }
  if (text === undefined) {
    throw new UsageError(
      `${description}: the object "head" is damaged or none of aoed's; ` +
        "restore it from a version of the bucket, or use another prefix",
    );
  }
  return { ...text, segments: text.segments.map(segmentOfText) };
}
