/** How often a worker says that its event loop turns, and how often that is looked for. */
const BEAT_MS = 250;
const LOOK_MS = 1000;

/** Looks without a beat in between that make a worker one that hangs. */
const SILENT_LOOKS = 20;

/** Beats from now on, in the thread of a worker. */
export function beat(memory: SharedArrayBuffer): void {
  const beats = new Int32Array(memory);
  Atomics.add(beats, 0, 1);
  setInterval(() => Atomics.add(beats, 0, 1), BEAT_MS).unref();
}

/**
 * Whether the event loop of a worker turns, as the main thread sees it. Looks are counted, and not
 * time: a process that was stopped as a whole finds its workers as alive as itself.
 */
export class Pulse {
  /** For `beat` in the other thread. */
  readonly memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  readonly #beats = new Int32Array(this.memory);
  readonly #looking = setInterval(() => this.look(), LOOK_MS).unref();
  readonly #onLost: () => void;
  #lastBeats = 0;
  #looksInVain = 0;

  constructor(onLost: () => void) {
    this.#onLost = onLost;
  }

  /** It has been still for some twenty seconds. A thread that still starts has no pulse to lose. */
  get isLost(): boolean {
    return this.#looksInVain >= SILENT_LOOKS;
  }

  look(): void {
    const beats = Atomics.load(this.#beats, 0);
    this.#looksInVain = beats === this.#lastBeats && beats !== 0 ? this.#looksInVain + 1 : 0;
    this.#lastBeats = beats;
    if (this.#looksInVain === SILENT_LOOKS) this.#onLost();
  }

  stop(): void {
    clearInterval(this.#looking);
  }
}
