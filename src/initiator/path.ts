import { formatMac } from "../mac-address.ts";
import type { AoeRequest } from "./request.ts";
import { RoundTripEstimate } from "./round-trip-estimate.ts";

/**
 * One way to a target: its address, the MAC that answers for it, how quickly it does, and how many
 * requests may be outstanding. The window grows by one for each window of answers and falls to
 * half after a loss, at most once for each window.
 */
export class Path {
  readonly shelf: number;
  readonly slot: number;
  /** 48 bits. */
  readonly mac: number;
  readonly roundTrip: RoundTripEstimate;
  outstanding = 0;
  /** Not sent yet; of the transport. */
  waiting: AoeRequest[] = [];
  #limit = 1;
  #window = 1;
  #answersInWindow = 0;
  #lostAtMs = Number.NEGATIVE_INFINITY;

  /** @param shortestTimeoutMs before a request is sent again */
  constructor(shelf: number, slot: number, mac: number, shortestTimeoutMs?: number) {
    this.shelf = shelf;
    this.slot = slot;
    this.mac = mac;
    this.roundTrip = new RoundTripEstimate(shortestTimeoutMs);
  }

  /** "e1.0 at 02:00:00:00:00:01" */
  get name(): string {
    return `e${this.shelf}.${this.slot} at ${formatMac(this.mac)}`;
  }

  get hasRoom(): boolean {
    return this.outstanding < this.#window;
  }

  /** @param limit requests that the target lets an initiator have outstanding */
  setLimit(limit: number): void {
    this.#limit = limit;
    this.#window = limit;
  }

  noteAnswer(roundTripMs: number): void {
    this.roundTrip.add(roundTripMs);
    if (++this.#answersInWindow < this.#window) return;
    this.#answersInWindow = 0;
    this.#window = Math.min(this.#window + 1, this.#limit);
  }

  noteLoss(nowMs: number): void {
    if (nowMs - this.#lostAtMs < (this.roundTrip.averageMs ?? 0) * 2) return;
    this.#lostAtMs = nowMs;
    this.#answersInWindow = 0;
    this.#window = Math.max(1, Math.floor(this.#window / 2));
  }
}
