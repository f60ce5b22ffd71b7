import type { Path } from "./path.ts";

/** A reply where it stands in the arena; valid during the call that hands it over. */
export interface ReplyFrame {
  readonly bytes: Uint8Array;
  /** Offset of the frame's first octet. */
  at: number;
  lengthBytes: number;
}

/** One request until it is answered: kept so that it can be sent again. */
export abstract class AoeRequest {
  readonly path: Path;
  abstract readonly command: number;
  /**
   * A write that was sent twice is done only when its newest copy is answered: the answer to the
   * first says nothing of the second, which could still arrive after a later write.
   */
  readonly needsNewest: boolean;
  /** Whether it is sent again when no answer comes in time. */
  isRepeated = true;
  /** Of every copy that was sent; the newest last. */
  readonly tags: number[] = [];
  sentAtMs = 0;
  deadlineMs = 0;

  constructor(path: Path, needsNewest: boolean) {
    this.path = path;
    this.needsNewest = needsNewest;
  }

  /** Writes what follows the AoE header at `at`. @returns the length of the frame in octets */
  abstract writeArguments(bytes: Uint8Array, at: number): number;

  /** The answer came without the error flag of AoE. */
  abstract answered(reply: ReplyFrame, roundTripMs: number): void;

  abstract failed(error: Error): void;
}
