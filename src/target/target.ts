import { CommandMetrics } from "../metrics/command-metrics.ts";
import type { BlockRequest, BlockStorage } from "../storage/block-storage.ts";
import { EMPTY_STATE, type TargetState } from "./state-file.ts";
import { WIRE_CHANGES, type WireChange } from "./wire-change.ts";

/** Keeps a target's state; resolves when it is durable. */
export type SaveState = (state: TargetState) => Promise<void>;

export interface TargetOptions {
  readonly shelf: number;
  readonly slot: number;
  readonly storage: BlockStorage;
  /** MACs that the administrator admits; empty admits everyone. The wire cannot widen it. */
  readonly allow: readonly number[];
  /** What initiators may change; undefined: everything. */
  readonly wireChanges?: readonly WireChange[] | undefined;
  readonly state: TargetState;
  readonly saveState: SaveState;
}

/** What happened at one target since the start. */
export interface TargetStatistics {
  reads: number;
  readSectors: number;
  writes: number;
  writtenSectors: number;
  flushes: number;
  trims: number;
  /** ATA commands answered with the error bit. */
  ataErrors: number;
}

/** Each change is synced to the disk, and a flood of them would hold a frame each until then. */
const PENDING_CHANGES_LIMIT = 16;

/**
 * One disk on the shelf: its address, who may use it, its state on the wire, and its storage.
 *
 * Storage requests go through the target, so that it knows which storages a batch of frames has
 * touched (`TargetManager.submit`).
 */
export class Target {
  readonly shelf: number;
  readonly slot: number;
  /** Another one after `replaceStorage`: not to be kept. */
  storage: BlockStorage;
  readonly statistics: TargetStatistics;
  /** What its initiators asked for and how long it took; counted by the layer above. */
  readonly metrics = new CommandMetrics();
  /** Its initiators are told that the disk has failed. */
  isRemoved = false;
  /** Its storage is being replaced: frames for it are dropped, and their senders ask again. */
  isSuspended = false;
  /** ATA commands that have not been answered yet; counted by the layer above. */
  commandsUnderWay = 0;
  /** Ranges of TRIM commands that have not been trimmed yet. */
  trimsUnderWay = 0;
  /** Set while requests wait for `submit`. */
  touched = false;
  #allow: ReadonlySet<number>;
  #wireChanges: ReadonlySet<WireChange>;
  readonly #saveState: SaveState;
  readonly #onTouched: (target: Target) => void;
  #state: TargetState;
  #mask: ReadonlySet<number>;
  #changes: Promise<void> = Promise.resolve();
  #pendingChanges = 0;

  constructor(options: TargetOptions, onTouched: (target: Target) => void) {
    this.shelf = options.shelf;
    this.slot = options.slot;
    this.storage = options.storage;
    this.#allow = new Set(options.allow);
    this.#wireChanges = new Set(options.wireChanges ?? WIRE_CHANGES);
    this.#saveState = options.saveState;
    this.#onTouched = onTouched;
    this.#state = options.state;
    this.#mask = new Set(options.state.mask);
    this.statistics = {
      reads: 0,
      readSectors: 0,
      writes: 0,
      writtenSectors: 0,
      flushes: 0,
      trims: 0,
      ataErrors: 0,
    };
  }

  /** As the Linux driver names it: "e1.0". */
  get name(): string {
    return `e${this.shelf}.${this.slot}`;
  }

  get state(): TargetState {
    return this.#state;
  }

  /** Replaces what the administrator says; what initiators have left stays. */
  restrict(allow: readonly number[], wireChanges: readonly WireChange[]): void {
    this.#allow = new Set(allow);
    this.#wireChanges = new Set(wireChanges);
  }

  /** Whether initiators may change this part of the state. */
  allowsChange(change: WireChange): boolean {
    return this.#wireChanges.has(change);
  }

  /** Whether frames of `mac` are heard at all: by the configuration and by the mask list. */
  admits(mac: number): boolean {
    return (
      (this.#allow.size === 0 || this.#allow.has(mac)) &&
      (this.#mask.size === 0 || this.#mask.has(mac))
    );
  }

  /** Whether any list restricts who is heard; if not, `admits` need not be asked. */
  get isRestricted(): boolean {
    return this.#allow.size > 0 || this.#mask.size > 0;
  }

  /** Whether a reservation keeps `mac` from using the disk. */
  isReservedAgainst(mac: number): boolean {
    const holders = this.#state.reservation;
    return holders.length > 0 && !holders.includes(mac);
  }

  /**
   * Changes the state, one change at a time: `change` sees the state that the changes before it
   * left, and returns the new one, or undefined to leave it. The new state takes effect when it is
   * durable.
   * @throws what saving threw, or that too many changes are under way; the state is then the old one
   */
  async changeState(change: (state: TargetState) => TargetState | undefined): Promise<void> {
    if (this.#pendingChanges >= PENDING_CHANGES_LIMIT) {
      throw new Error(`${this.name}: too many changes of state at once`);
    }
    this.#pendingChanges++;
    const turn = this.#changes.then(async () => {
      const next = change(this.#state);
      if (next === undefined) return;
      await this.#saveState(next);
      this.#state = next;
      this.#mask = new Set(next.mask);
    });
    this.#changes = turn
      .catch(() => undefined)
      .finally(() => {
        this.#pendingChanges--;
      });
    return turn;
  }

  /** Resolves when no change is under way. */
  async settled(): Promise<void> {
    await this.#changes;
  }

  read(request: BlockRequest): void {
    this.storage.read(request);
    this.#touch();
  }

  write(request: BlockRequest): void {
    this.storage.write(request);
    this.#touch();
  }

  flush(request: BlockRequest): void {
    this.storage.flush(request);
    this.#touch();
  }

  trim(request: BlockRequest): void {
    this.storage.trim(request);
    this.#touch();
  }

  #touch(): void {
    if (this.touched) return;
    this.touched = true;
    this.#onTouched(this);
  }
}

/** For targets whose state need not outlive the process. */
export const volatileState = {
  state: EMPTY_STATE,
  saveState: async (): Promise<void> => {},
};
