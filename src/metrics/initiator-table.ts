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
  readonly #outstanding = new Int32Array(ROWS + 1);
  readonly #answered = new Float64Array(ROWS + 1);
  readonly #errors = new Float64Array(ROWS + 1);
  readonly #readBytes = new Float64Array(ROWS + 1);
  readonly #writtenBytes = new Float64Array(ROWS + 1);
  readonly #retransmissions = new Float64Array(ROWS + 1);
  readonly #firstSeenMs = new Float64Array(ROWS + 1);
  readonly #lastSeenMs = new Float64Array(ROWS + 1);
  readonly #before = new Float64Array(ROWS * 3);
  readonly #rates = new Float64Array(ROWS * 3);
  /** Rows that were given to another address. */
  evictions = 0;

  /**
   * The row of a source address, made when it is new.
   * @param high its first two octets  @param low the other four, as a signed number
   */
  arrived(high: number, low: number, nowMs: number): number {
    const row = this.#rowOf(high, low, nowMs);
    this.#lastSeenMs[row] = nowMs;
    this.#outstanding[row]++;
    return row;
  }

  #rowOf(high: number, low: number, nowMs: number): number {
    const hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
    const first = (hash >>> 25) * WAYS;
    for (let row = first; row < first + WAYS; row++) {
      if (this.#low[row] === low && this.#high[row] === high && this.#isUsed[row] === 1) return row;
    }
    return this.#take(first, high, low, nowMs);
  }

  #take(first: number, high: number, low: number, nowMs: number): number {
    let victim = NO_INITIATOR;
    let leastWorth = Infinity;
    for (let row = first; row < first + WAYS; row++) {
      if (this.#outstanding[row] > 0) continue;
      const worth = this.#worth(row, nowMs);
      if (worth >= leastWorth) continue;
      leastWorth = worth;
      victim = row;
    }
    if (victim === NO_INITIATOR) return NO_INITIATOR;
    if (this.#isUsed[victim] === 1) this.evictions++;
    this.#clear(victim);
    this.#isUsed[victim] = 1;
    this.#high[victim] = high;
    this.#low[victim] = low;
    this.#firstSeenMs[victim] = nowMs;
    return victim;
  }

  /** Free rows go first, then those that are idle, then those that have done least. */
  #worth(row: number, nowMs: number): number {
    if (this.#isUsed[row] === 0) return -1;
    if (nowMs - this.#lastSeenMs[row] > IDLE_MS) return 0;
    return 1 + this.#answered[row];
  }

  #clear(row: number): void {
    this.#answered[row] = 0;
    this.#errors[row] = 0;
    this.#readBytes[row] = 0;
    this.#writtenBytes[row] = 0;
    this.#retransmissions[row] = 0;
    this.#before.fill(0, row * 3, row * 3 + 3);
    this.#rates.fill(0, row * 3, row * 3 + 3);
  }

  /** A request of this row has been answered. */
  answered(row: number, kind: CommandKind, bytes: number): void {
    this.#outstanding[row]--;
    this.#answered[row]++;
    if (kind === CommandKind.read) this.#readBytes[row] += bytes;
    else if (kind === CommandKind.write) this.#writtenBytes[row] += bytes;
  }

  /** The answer was an error. */
  failed(row: number): void {
    this.#errors[row]++;
  }

  /** A request of this row will not be answered. */
  dropped(row: number): void {
    this.#outstanding[row]--;
  }

  repeated(row: number): void {
    this.#retransmissions[row]++;
  }

  /** Renews the rates; `elapsedSeconds` since the last call. */
  sample(elapsedSeconds: number): void {
    for (let row = 0; row < ROWS; row++) {
      if (this.#isUsed[row] === 0) continue;
      this.#renew(row * 3, this.#answered[row], elapsedSeconds);
      this.#renew(row * 3 + 1, this.#readBytes[row], elapsedSeconds);
      this.#renew(row * 3 + 2, this.#writtenBytes[row], elapsedSeconds);
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
    return {
      mac: this.#high[row] * 2 ** 32 + (this.#low[row] >>> 0),
      answered: this.#answered[row],
      errors: this.#errors[row],
      readBytes: this.#readBytes[row],
      writtenBytes: this.#writtenBytes[row],
      outstanding: this.#outstanding[row],
      retransmissions: this.#retransmissions[row],
      firstSeenMs: this.#firstSeenMs[row],
      lastSeenMs: this.#lastSeenMs[row],
      rates: {
        operations: this.#rates[row * 3],
        readBytes: this.#rates[row * 3 + 1],
        writtenBytes: this.#rates[row * 3 + 2],
      },
    };
  }
}
