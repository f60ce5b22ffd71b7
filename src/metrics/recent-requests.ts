const SLOTS = 2048;

/** A slot is four words, so that it lies in one line of the cache. */
const WORDS = 4;
const FINGERPRINT = 0;
const TAG = 1;
/** Milliseconds, as they fit 32 bits. */
const HEARD = 2;
/** The frame that the request is in while it is not answered, counted from 1; 0 for none. */
const FRAME = 3;

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
  readonly #slots = new Int32Array(SLOTS * WORDS);
  /** Of each frame of the arena: where its request is in `slots`. */
  readonly #places: Int32Array;

  constructor(frameCount: number) {
    this.#places = new Int32Array(frameCount).fill(-1);
  }

  /** @returns whether the request has been heard before */
  hear(fingerprint: number, tag: number, frame: number, nowMs: number): boolean {
    const slots = this.#slots;
    const place = (fingerprint & (SLOTS - 1)) * WORDS;
    const heard = nowMs | 0;
    const isSame = slots[place + FINGERPRINT] === fingerprint;
    const isRepetition =
      isSame &&
      (slots[place + FRAME] !== 0 ||
        (slots[place + TAG] === tag && ((heard - slots[place + HEARD]) | 0) < TAG_LIFETIME_MS));
    slots[place + FINGERPRINT] = fingerprint;
    slots[place + TAG] = tag;
    slots[place + HEARD] = heard;
    slots[place + FRAME] = frame + 1;
    this.#places[frame] = place;
    return isRepetition;
  }

  /** The request in this frame is no longer under way. */
  leave(frame: number): void {
    const place = this.#places[frame];
    if (place === -1) return;
    this.#places[frame] = -1;
    if (this.#slots[place + FRAME] === frame + 1) this.#slots[place + FRAME] = 0;
  }
}
