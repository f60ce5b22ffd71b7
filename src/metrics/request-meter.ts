import type { CommandKind, ErrorReason } from "./command-kind.ts";
import type { CommandMetrics } from "./command-metrics.ts";
import { InitiatorTable } from "./initiator-table.ts";
import { RecentRequests } from "./recent-requests.ts";

/**
 * Counts each request from its arrival to its reply: for its target, for its initiator, and how long
 * it took. The clock is read once for a batch at its arrival and once when replies leave, not for each
 * frame; all that is kept for a frame lies in typed arrays that are as long as the arena.
 */
export class RequestMeter {
  readonly initiators = new InitiatorTable();
  readonly #recent: RecentRequests;
  readonly #rows: Int32Array;
  readonly #arrivedMs: Float64Array;
  /** Replies that wait to leave: their duration is not known yet. */
  readonly #leavingMetrics: (CommandMetrics | null)[];
  readonly #leavingKinds: Uint8Array;
  readonly #leavingFrames: Int32Array;
  #leaving = 0;
  /** Of the batch. */
  #nowMs = 0;

  /** @param frameCount of the arena: frames are numbered from 0 */
  constructor(frameCount: number) {
    this.#recent = new RecentRequests(frameCount);
    this.#rows = new Int32Array(frameCount);
    this.#arrivedMs = new Float64Array(frameCount);
    this.#leavingMetrics = Array.from({ length: frameCount }, () => null);
    this.#leavingKinds = new Uint8Array(frameCount);
    this.#leavingFrames = new Int32Array(frameCount);
  }

  /** @param nowMs of a clock that only grows, the same one as in `leave` */
  beginBatch(nowMs: number): void {
    this.#nowMs = nowMs;
  }

  /** A request has come. @param high @param low its source address, as InitiatorTable has it */
  arrive(frame: number, high: number, low: number): void {
    this.#arrivedMs[frame] = this.#nowMs;
    this.#rows[frame] = this.initiators.arrived(high, low, this.#nowMs);
  }

  /** The request moves data; see RecentRequests. */
  recognise(frame: number, fingerprint: number, tag: number): void {
    if (!this.#recent.hear(fingerprint, tag, frame, this.#nowMs)) return;
    this.initiators.repeated(this.#rows[frame]);
  }

  /** The reply is written. It leaves at the next call of `leave`. */
  answer(frame: number, metrics: CommandMetrics, kind: CommandKind, bytes: number): void {
    this.#recent.leave(frame);
    metrics.answered(kind, bytes);
    this.initiators.answered(this.#rows[frame], kind, bytes);
    if (this.#leaving === this.#leavingKinds.length) this.leave(this.#nowMs);
    const place = this.#leaving++;
    this.#leavingMetrics[place] = metrics;
    this.#leavingKinds[place] = kind;
    this.#leavingFrames[place] = frame;
  }

  /** The reply says that the request failed. */
  fail(frame: number, metrics: CommandMetrics, kind: CommandKind, reason: ErrorReason): void {
    metrics.failed(kind, reason, Date.now());
    this.initiators.failed(this.#rows[frame]);
  }

  /** The request gets no reply. */
  drop(frame: number): void {
    this.#recent.leave(frame);
    this.initiators.dropped(this.#rows[frame]);
  }

  /** The replies written so far are handed to the kernel now. */
  leave(nowMs: number): void {
    for (let place = 0; place < this.#leaving; place++) {
      const kind = this.#leavingKinds[place] as CommandKind;
      const arrivedMs = this.#arrivedMs[this.#leavingFrames[place]];
      this.#leavingMetrics[place]?.lasted(kind, nowMs - arrivedMs);
    }
    this.#leaving = 0;
  }

  /** Whether `leave` has anything to do. */
  get hasLeaving(): boolean {
    return this.#leaving > 0;
  }
}
