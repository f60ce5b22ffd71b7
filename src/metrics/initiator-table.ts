import { CommandKind } from "./command-kind.ts";
import type { Rates } from "./command-metrics.ts";

/** What one initiator has asked for since it was first seen, over all targets of this thread. */
export interface InitiatorFigures {
  /** 48 bits. */
  readonly mac: number;
  readonly answered: number;
  readonly errors: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Requests that have not been answered yet. */
  readonly outstanding: number;
  /** Requests that it had sent before, as far as they can be recognised (recent-requests.ts). */
  readonly retransmissions: number;
  /** Milliseconds of the clock that the table is told. */
  readonly firstSeenMs: number;
  readonly lastSeenMs: number;
  readonly rates: Rates;
}

const SETS = 128;
const WAYS = 8;
const ROWS = SETS * WAYS;

/** Row of those for whom there is no room: more than WAYS of one set have requests under way. */
export const NO_INITIATOR = ROWS;

/** Whoever has been silent for so long is forgotten before those who are active. */
const IDLE_MS = 300_000;

/** The counts of a row, side by side so that they lie in one line of the cache. */
const COUNTS = 8;
const OUTSTANDING = 0;
const ANSWERED = 1;
const ERRORS = 2;
const READ_BYTES = 3;
const WRITTEN_BYTES = 4;
const RETRANSMISSIONS = 5;
const FIRST_SEEN = 6;
const LAST_SEEN = 7;

const RATES = 3;

/**
 * Who talks to us: a row for each source address, in typed arrays of a fixed size. An address
 * belongs to one of 128 sets of eight rows. When a set is full, the row gives way that was used least;
 * so a flood of forged addresses, each of which is seen once, displaces other forged ones and not
 * an initiator at work.
 */
export class InitiatorTable {
  readonly #high = new Int32Array(ROWS);
  readonly #low = new Int32Array(ROWS);
  readonly #isUsed = new Uint8Array(ROWS);
  readonly #counts = new Float64Array((ROWS + 1) * COUNTS);
  readonly #before = new Float64Array(ROWS * RATES);
  readonly #rates = new Float64Array(ROWS * RATES);
  /** The address that came last, which is likely to come next. */
  #lastHigh = -1;
  #lastLow = 0;
  #lastRow = NO_INITIATOR;
  /** Rows that were given to another address. */
  evictions = 0;

  /**
   * The row of a source address, made when it is new.
   * @param high its first two octets as they lie in memory, read as a number
   * @param low the other four, the same way
   */
  arrived(high: number, low: number, nowMs: number): number {
    if (low !== this.#lastLow || high !== this.#lastHigh) {
      this.#lastRow = this.#rowOf(high, low, nowMs);
      this.#lastHigh = high;
      this.#lastLow = low;
    }
    const first = this.#lastRow * COUNTS;
    this.#counts[first + OUTSTANDING]++;
    this.#counts[first + LAST_SEEN] = nowMs;
    return this.#lastRow;
  }

  #rowOf(high: number, low: number, nowMs: number): number {
    const hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
    const first = (hash >>> 25) * WAYS;
    for (let row = first; row < first + WAYS; row++) {
      if (this.#low[row] === low && this.#high[row] === high && this.#isUsed[row] === 1) return row;
    }
    const row = this.#leastUseful(first, nowMs);
    if (row === NO_INITIATOR) return row;
    if (this.#isUsed[row] === 1) this.evictions++;
    this.#isUsed[row] = 1;
    this.#high[row] = high;
    this.#low[row] = low;
    this.#counts.fill(0, row * COUNTS, (row + 1) * COUNTS);
    this.#counts[row * COUNTS + FIRST_SEEN] = nowMs;
    this.#before.fill(0, row * RATES, (row + 1) * RATES);
    this.#rates.fill(0, row * RATES, (row + 1) * RATES);
    return row;
  }

  /** The row of a set that gives way; none when all have requests under way. */
  #leastUseful(first: number, nowMs: number): number {
    let found = NO_INITIATOR;
    let leastWorth = Infinity;
    for (let row = first; row < first + WAYS; row++) {
      if (this.#counts[row * COUNTS + OUTSTANDING] > 0) continue;
      const worth = this.#worth(row, nowMs);
      if (worth >= leastWorth) continue;
      leastWorth = worth;
      found = row;
    }
    return found;
  }

  /** Free rows go first, then those that are idle, then those that have done least. */
  #worth(row: number, nowMs: number): number {
    if (this.#isUsed[row] === 0) return -1;
    if (nowMs - this.#counts[row * COUNTS + LAST_SEEN] > IDLE_MS) return 0;
    return 1 + this.#counts[row * COUNTS + ANSWERED];
  }

  /** A request of this row has been answered. */
  answered(row: number, kind: CommandKind, bytes: number): void {
    const first = row * COUNTS;
    this.#counts[first + OUTSTANDING]--;
    this.#counts[first + ANSWERED]++;
    if (kind === CommandKind.read) this.#counts[first + READ_BYTES] += bytes;
    else if (kind === CommandKind.write) this.#counts[first + WRITTEN_BYTES] += bytes;
  }

  /** The answer was an error. */
  failed(row: number): void {
    this.#counts[row * COUNTS + ERRORS]++;
  }

  /** A request of this row will not be answered. */
  dropped(row: number): void {
    this.#counts[row * COUNTS + OUTSTANDING]--;
  }

  repeated(row: number): void {
    this.#counts[row * COUNTS + RETRANSMISSIONS]++;
  }

  /** Renews the rates; `elapsedSeconds` since the last call. */
  sample(elapsedSeconds: number): void {
    for (let row = 0; row < ROWS; row++) {
      if (this.#isUsed[row] === 0) continue;
      const counts = row * COUNTS;
      this.#renew(row * RATES, this.#counts[counts + ANSWERED], elapsedSeconds);
      this.#renew(row * RATES + 1, this.#counts[counts + READ_BYTES], elapsedSeconds);
      this.#renew(row * RATES + 2, this.#counts[counts + WRITTEN_BYTES], elapsedSeconds);
    }
  }

  #renew(place: number, count: number, elapsedSeconds: number): void {
    this.#rates[place] = (count - this.#before[place]) / elapsedSeconds;
    this.#before[place] = count;
  }

  /** The busiest first. */
  figures(): InitiatorFigures[] {
    const rows = Array.from({ length: ROWS }, (_, row) => row);
    return rows
      .filter((row) => this.#isUsed[row] === 1)
      .map((row) => this.#figuresOf(row))
      .toSorted((left, right) => right.answered - left.answered);
  }

  #figuresOf(row: number): InitiatorFigures {
    const counts = this.#counts.subarray(row * COUNTS, (row + 1) * COUNTS);
    const [operations, readBytes, writtenBytes] = this.#rates.subarray(row * RATES);
    return {
      mac: macOf(this.#high[row], this.#low[row]),
      answered: counts[ANSWERED],
      errors: counts[ERRORS],
      readBytes: counts[READ_BYTES],
      writtenBytes: counts[WRITTEN_BYTES],
      outstanding: counts[OUTSTANDING],
      retransmissions: counts[RETRANSMISSIONS],
      firstSeenMs: counts[FIRST_SEEN],
      lastSeenMs: counts[LAST_SEEN],
      rates: { operations, readBytes, writtenBytes },
    };
  }
}

/** Our processors have the least significant octet of a word first in memory, the wire the most. */
function macOf(high: number, low: number): number {
  const octets = [high, high >> 8, low, low >> 8, low >> 16, low >> 24];
  return octets.reduce((mac, octet) => mac * 256 + (octet & 0xff), 0);
}
