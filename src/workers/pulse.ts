/** How often a worker says that its event loop turns, and how often that is looked for. */
const BEAT_MS = 250;
const LOOK_MS = 1000;

/** Looks without a beat in between that make a worker one that hangs. */
const SILENT_LOOKS = 20;

/** What the two threads share, in words of 32 bits: the beats, and the last call given up. */
const BEATS = 0;
const GIVEN_UP = 1;

/** Beats from now on, in the thread of a worker. */
export function beat(memory: SharedArrayBuffer): void {
  const words = new Int32Array(memory);
  Atomics.add(words, BEATS, 1);
  setInterval(() => Atomics.add(words, BEATS, 1), BEAT_MS).unref();
}

/** In the thread of a worker: the last call that the main thread has told its caller failed. */
export function lastGivenUp(memory: SharedArrayBuffer): number {
  return Atomics.load(new Int32Array(memory), GIVEN_UP);
}

/**
 * Whether the event loop of a worker turns, as the main thread sees it. Looks are counted, and not
 * time: a process that was stopped as a whole finds its workers as alive as itself.
 */
export class Pulse {
  /** For `beat` in the other thread. */
  readonly memory = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
  readonly #words = new Int32Array(this.memory);
  #looking: NodeJS.Timeout | undefined;
  readonly #onLost: () => void;
  #lastBeats = 0;
  #looksInVain = 0;

  constructor(onLost: () => void) {
    this.#onLost = onLost;
  }

  /** From now on: what a start does may take the thread as long as it likes. */
  watch(): void {
    this.#looking ??= setInterval(() => this.look(), LOOK_MS).unref();
  }

  /** It has been still for some twenty seconds. */
  get isLost(): boolean {
    return this.#looksInVain >= SILENT_LOOKS;
  }

  look(): void {
    const beats = Atomics.load(this.#words, BEATS);
    this.#looksInVain = beats === this.#lastBeats ? this.#looksInVain + 1 : 0;
    this.#lastBeats = beats;
    if (this.#looksInVain === SILENT_LOOKS) this.#onLost();
  }

  /** The worker must not begin calls up to this one any more. */
  giveUp(lastId: number): void {
    Atomics.store(this.#words, GIVEN_UP, lastId);
  }

  stop(): void {
    clearInterval(this.#looking);
  }
}
