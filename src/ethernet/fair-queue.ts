import type { FrameArena } from "../arena/frame-arena.ts";

/** Sources are told apart by a digest of their address: two may share a place, for a while. */
const PLACES = 256;
const SOURCE_OFFSET_BYTES = 6;

/** Frames that a source may have taken in its turn, before the next one has its own. */
const TURN_FRAMES = 8;
/** The same, of a source that sends more than an initiator may. */
const CULPRIT_TURN_FRAMES = 1;
/** For so many ticks after its last excess a source counts as such. */
const CULPRIT_TICKS = 10;
/** A frame that has waited for so many ticks is too old: its sender may have sent it again. */
const OLDEST_TICKS = 2;
/** After so many ticks, at a time when nothing waits, the places are dealt anew. */
const DEAL_TICKS = 100;

const NONE = -1;

/**
 * Received frames that wait for their execution, in a queue for each source: the sources have their
 * turns one after the other, whatever each of them sends. A source that has more frames waiting than
 * an initiator may have outstanding loses the excess, and gets the smaller turns for the next second.
 * Frames of one source keep their order. The tables are bounded and made once; nothing is allocated.
 */
export class FairQueue {
  /** Frames that wait. */
  count = 0;
  #sourceLimit: number;
  /**
   * The source that lost most of the frames displaced since `forgetCulprit`, if one lost more than all
   * others together; else any that lost some. A 48-bit number.
   */
  culprit = 0;
  /** How many of its frames were lost, at the least: each one that another lost counts against it. */
  culpritFrames = 0;
  readonly #arena: FrameArena;
  readonly #bytes: Uint8Array;
  readonly #totalLimit: number;
  /** By frame: the next one of its source, its length, and when it came. */
  readonly #next: Int32Array;
  readonly #lengths: Int32Array;
  readonly #ticks: Float64Array;
  /** By place. */
  readonly #heads = new Int32Array(PLACES).fill(NONE);
  readonly #tails = new Int32Array(PLACES).fill(NONE);
  readonly #counts = new Int32Array(PLACES);
  readonly #credits = new Int32Array(PLACES);
  readonly #excessTicks = new Float64Array(PLACES).fill(-CULPRIT_TICKS);
  /** Places with frames, in the order of their turns: a ring. */
  readonly #turns = new Int32Array(PLACES);
  #lastExcessTick = -CULPRIT_TICKS;
  #firstTurn = 0;
  #turnCount = 0;
  #tick = 0;
  readonly #newSeed: () => number;
  #seed: number;
  #dealtTick = 0;

  /**
   * @param totalLimit how many frames may wait in all
   * @param newSeed of the digest: nobody outside knows which sources share a place
   */
  constructor(arena: FrameArena, totalLimit: number, newSeed = randomSeed) {
    this.#newSeed = newSeed;
    this.#seed = newSeed();
    this.#arena = arena;
    this.#bytes = arena.bytes;
    this.#totalLimit = totalLimit;
    this.#sourceLimit = totalLimit;
    this.#next = new Int32Array(arena.frameCount);
    this.#lengths = new Int32Array(arena.frameCount);
    this.#ticks = new Float64Array(arena.frameCount);
  }

  /** How many frames one source may have waiting: at most half of all. */
  limitSources(frames: number): void {
    this.#sourceLimit = Math.min(frames, this.#totalLimit / 2);
  }

  /**
   * Whether frames should stay where they are for now: there is no room for so many more, and nobody
   * has sent too many.
   */
  hasNoRoomFor(frames: number): boolean {
    const isCalm = this.#tick - this.#lastExcessTick >= CULPRIT_TICKS;
    return isCalm && this.count + frames > this.#totalLimit;
  }

  /**
   * Puts a frame behind the others of its source.
   * @returns -1, or a frame that finds no room (this one, or one that waited): the caller's again
   */
  push(frame: number, lengthBytes: number): number {
    const place = this.#placeOf(frame);
    if (this.#counts[place] >= this.#sourceLimit) return this.#excess(frame, place);
    let displaced = NONE;
    if (this.count >= this.#totalLimit) {
      const longest = this.#longest();
      // Never the last frame of a source: one with frames stays in the ring of turns.
      if (this.#counts[longest] <= this.#counts[place] + 1) return this.#excess(frame, place);
      displaced = this.#excess(this.#removeFirst(longest), longest);
    }
    this.#next[frame] = NONE;
    this.#lengths[frame] = lengthBytes;
    this.#ticks[frame] = this.#tick;
    if (this.#counts[place] === 0) {
      this.#heads[place] = frame;
      this.#beginTurns(place);
    } else {
      this.#next[this.#tails[place]] = frame;
    }
    this.#tails[place] = frame;
    this.#counts[place]++;
    this.count++;
    return displaced;
  }

  /** @returns the frame whose turn it is, or -1 when none waits */
  take(): number {
    if (this.#turnCount === 0) return NONE;
    const place = this.#turns[this.#firstTurn];
    const frame = this.#removeFirst(place);
    this.#credits[place]--;
    if (this.#counts[place] === 0) {
      this.#endTurn();
    } else if (this.#credits[place] <= 0) {
      this.#endTurn();
      this.#beginTurns(place);
    }
    return frame;
  }

  /** Octets of a frame that `take` returned. */
  lengthOf(frame: number): number {
    return this.#lengths[frame];
  }

  /** Whether a frame that `take` returned must not be executed any more. */
  isStale(frame: number): boolean {
    return this.#tick - this.#ticks[frame] >= OLDEST_TICKS;
  }

  /** Begins to count anew who loses frames. */
  forgetCulprit(): void {
    this.culpritFrames = 0;
  }

  /** Time passes: a tenth of a second. */
  tick(): void {
    this.#tick++;
    if (this.count > 0 || this.#tick - this.#dealtTick < DEAL_TICKS) return;
    // Whoever shares a place with a flood by chance does not for long.
    this.#dealtTick = this.#tick;
    this.#seed = this.#newSeed();
    this.#excessTicks.fill(this.#tick - CULPRIT_TICKS);
  }

  #placeOf(frame: number): number {
    const at = this.#arena.frameOffset(frame) + SOURCE_OFFSET_BYTES;
    const bytes = this.#bytes;
    const high = (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];
    const low = (bytes[at + 3] << 16) | (bytes[at + 4] << 8) | bytes[at + 5];
    let digest = Math.imul(high ^ this.#seed, 0x9e3779b1) ^ low;
    digest = Math.imul(digest ^ (digest >>> 15), 0x85ebca6b);
    return (digest ^ (digest >>> 13)) & (PLACES - 1);
  }

  #turnOf(place: number): number {
    const isCulprit = this.#tick - this.#excessTicks[place] < CULPRIT_TICKS;
    return isCulprit ? CULPRIT_TURN_FRAMES : TURN_FRAMES;
  }

  #excess(frame: number, place: number): number {
    this.#excessTicks[place] = this.#tick;
    this.#lastExcessTick = this.#tick;
    const at = this.#arena.frameOffset(frame) + SOURCE_OFFSET_BYTES;
    let mac = 0;
    for (let octet = 0; octet < 6; octet++) mac = mac * 256 + this.#bytes[at + octet];
    this.#accuse(mac);
    return frame;
  }

  /** The majority vote of Boyer and Moore: innocents between the frames of a flood do not win it. */
  #accuse(mac: number): void {
    if (mac === this.culprit) this.culpritFrames++;
    else if (this.culpritFrames > 0) this.culpritFrames--;
    else {
      this.culprit = mac;
      this.culpritFrames = 1;
    }
  }

  #longest(): number {
    let longest = this.#turns[this.#firstTurn];
    for (let index = 1; index < this.#turnCount; index++) {
      const place = this.#turns[(this.#firstTurn + index) % PLACES];
      if (this.#counts[place] > this.#counts[longest]) longest = place;
    }
    return longest;
  }

  #removeFirst(place: number): number {
    const frame = this.#heads[place];
    this.#heads[place] = this.#next[frame];
    this.#counts[place]--;
    this.count--;
    return frame;
  }

  #beginTurns(place: number): void {
    this.#credits[place] = this.#turnOf(place);
    this.#turns[(this.#firstTurn + this.#turnCount++) % PLACES] = place;
  }

  #endTurn(): void {
    this.#firstTurn = (this.#firstTurn + 1) % PLACES;
    this.#turnCount--;
  }
}

function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 24);
}
