import type { LogPosition, Superblock } from "./segment-format.ts";
import type { Segment } from "./segment-space.ts";

/** The log as it was found when it was opened. */
export interface OpenedLog {
  readonly superblock: Superblock;
  /** In use, by number. */
  readonly segments: readonly Segment[];
  /** The segment that takes the next frame; undefined: that will be a new one. */
  readonly active: Segment | undefined;
  /** Of the last frame; all of the log is durable. */
  readonly sequence: number;
}

/**
 * Follows a segment log, to keep a copy of it elsewhere. Called in the order of the events, on the
 * data path: it must be quick and must not throw.
 */
export interface LogWatcher {
  opened(log: OpenedLog): void;
  /** A frame has its place behind the others; it may not be durable yet. */
  appended(bytes: number): void;
  /** All frames of the log up to this sequence number, the end of this segment, are durable. */
  durable(segment: Segment, sequence: number): void;
  /** The segment takes no more frames; what is in it is durable. */
  sealed(segment: Segment): void;
  /** A checkpoint is complete; its last frame has this sequence number. */
  checkpointed(position: Readonly<LogPosition>, endSequence: number): void;
  /**
   * The blobs that are still wanted are durable in other segments, and the file says durably that it
   * is free.
   */
  released(segment: Segment): void;
  /** Only segments with a lower number may be released. */
  releasableBefore(): number;
}
