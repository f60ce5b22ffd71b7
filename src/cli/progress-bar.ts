import type { Progress } from "../control/store-api.ts";
import { approximateSize } from "./approximate-size.ts";
import { durationText } from "./time-text.ts";

const BAR_CHARACTERS = 24;
const REDRAW_MS = 100;
/** What was done this long ago decides the rate. */
const RATE_WINDOW_MS = 5000;

interface Sample {
  readonly timeMs: number;
  readonly done: number;
}

/** One line on a terminal, drawn over itself: how far, how fast, how long yet. */
export class ProgressBar {
  readonly #stream: { write(text: string): unknown; readonly columns?: number };
  readonly #now: () => number;
  #samples: Sample[] = [];
  #phase = "";
  #drawnMs = -Infinity;
  #isDrawn = false;

  constructor(
    stream: { write(text: string): unknown; readonly columns?: number },
    now: () => number = () => performance.now(),
  ) {
    this.#stream = stream;
    this.#now = now;
  }

  show(progress: Progress): void {
    const timeMs = this.#now();
    if (progress.phase !== this.#phase) this.#samples = [];
    else if (timeMs - this.#drawnMs < REDRAW_MS) return;
    this.#phase = progress.phase;
    this.#drawnMs = timeMs;
    this.#samples.push({ timeMs, done: progress.done });
    while (this.#samples.length > 2 && timeMs - this.#samples[0].timeMs > RATE_WINDOW_MS) {
      this.#samples.shift();
    }
    const line = progressLine(progress, this.#ratePerSecond());
    const width = (this.#stream.columns ?? 80) - 1;
    this.#stream.write(`\r\u001b[K${line.slice(0, width)}`);
    this.#isDrawn = true;
  }

  #ratePerSecond(): number {
    const first = this.#samples[0];
    const last = this.#samples[this.#samples.length - 1];
    const elapsedMs = last.timeMs - first.timeMs;
    return elapsedMs < REDRAW_MS ? 0 : ((last.done - first.done) / elapsedMs) * 1000;
  }

  /** Leaves the line empty for what comes. */
  end(): void {
    if (this.#isDrawn) this.#stream.write("\r\u001b[K");
    this.#isDrawn = false;
  }
}

/** "import [#####     ]  42%  1.2 GiB of 2.9 GiB  310 MiB/s  5 s left" */
export function progressLine(progress: Progress, ratePerSecond: number): string {
  const { phase, done, total, unit } = progress;
  const amount = (count: number): string =>
    unit === "bytes" ? approximateSize(count) : `${Math.round(count)} ${unit}`;
  const parts = [phase];
  if (total !== null && total > 0) {
    const share = Math.min(1, done / total);
    const filled = Math.round(share * BAR_CHARACTERS);
    parts[0] += ` [${"#".repeat(filled).padEnd(BAR_CHARACTERS)}]`;
    parts.push(`${String(Math.floor(share * 100)).padStart(3)}%`);
    parts.push(`${amount(done)} of ${amount(total)}`);
  } else {
    parts.push(amount(done));
  }
  if (ratePerSecond > 0) parts.push(`${amount(ratePerSecond)}/s`);
  if (ratePerSecond > 0 && total !== null && total > done) {
    parts.push(`${durationText((total - done) / ratePerSecond)} left`);
  }
  return parts.join("  ");
}
