const SLOTS = 8192;
const NOT_IN_FLIGHT = -1;

/** Tags come round again; one that was used longer ago says nothing. */
const TAG_LIFETIME_MS = 10_000;

/**
 * Recognises requests that were sent before, by a fingerprint of all that makes them the same
 * (who asks whom for what) but the tag. A request is a repetition when
 * - the one before it has not been answered yet (the Linux driver takes a new tag when it repeats), or
 * - it has the same tag as the one before it (iPXE, WinAoE, aoetools).
 *
 * What is not recognised: a repetition with a new tag of a request whose answer was lost on the
 * way. It cannot be told from somebody who reads the same block twice.
 */
export class RecentRequests {
  readonly #fingerprints = new Int32Array(SLOTS);
  readonly #tags = new Int32Array(SLOTS);
  readonly #heardMs = new Float64Array(SLOTS).fill(-Infinity);
  /** The frame that the request is in while it is not answered. */
  readonly #frames = new Int32Array(SLOTS).fill(NOT_IN_FLIGHT);
  /** Of each frame of the arena. */
  readonly #slots: Int32Array;

  constructor(frameCount: number) {
    this.#slots = new Int32Array(frameCount).fill(-1);
  }

  /** @returns whether the request has been heard before */
  hear(fingerprint: number, tag: number, frame: number, nowMs: number): boolean {
    const slot = fingerprint & (SLOTS - 1);
    const isSame = this.#fingerprints[slot] === fingerprint;
    const hasSameTag = this.#tags[slot] === tag && nowMs - this.#heardMs[slot] < TAG_LIFETIME_MS;
    const isRepetition = isSame && (hasSameTag || this.#frames[slot] !== NOT_IN_FLIGHT);
    this.#fingerprints[slot] = fingerprint;
    this.#tags[slot] = tag;
    this.#heardMs[slot] = nowMs;
    this.#frames[slot] = frame;
    this.#slots[frame] = slot;
    return isRepetition;
  }

  /** The request in this frame is no longer under way. */
  leave(frame: number): void {
    const slot = this.#slots[frame];
    if (slot === -1) return;
    this.#slots[frame] = -1;
    if (this.#frames[slot] === frame) this.#frames[slot] = NOT_IN_FLIGHT;
  }
}
