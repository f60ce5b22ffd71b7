import { Target, type TargetOptions } from "./target.ts";

const ALL_SHELVES = 0xffff;
const ALL_SLOTS = 0xff;

/**
 * The shelf: which target answers at which address, and which storages have work to start.
 *
 * Addresses of requests may be wildcards, shelf and slot independently (AoEr11 §2.3); targets never
 * have wildcard addresses.
 */
export class TargetManager {
  readonly #byAddress = new Map<number, Target>();
  readonly #removed = new Map<number, Target>();
  readonly #touched: Target[] = [];
  readonly #noteTouched = (target: Target): void => {
    this.#touched.push(target);
  };

  add(options: TargetOptions): Target {
    const address = addressOf(options.shelf, options.slot);
    if (this.#byAddress.has(address)) {
      throw new Error(`two targets at ${options.shelf}.${options.slot}`);
    }
    const target = new Target(options, this.#noteTouched);
    this.#byAddress.set(address, target);
    this.#removed.delete(address);
    return target;
  }

  /** From now on commands to it fail at once, and it is not announced; see `removed`. */
  remove(target: Target): void {
    const address = addressOf(target.shelf, target.slot);
    if (this.#byAddress.get(address) !== target) return;
    this.#byAddress.delete(address);
    this.#removed.set(address, target);
    target.isRemoved = true;
  }

  /** The target that was here until it was removed, if nothing has taken its place. */
  removed(shelf: number, slot: number): Target | undefined {
    return this.#removed.get(addressOf(shelf, slot));
  }

  /** Nothing is answered any more at an address whose target was removed. */
  forgetRemoved(shelf: number, slot: number): void {
    this.#removed.delete(addressOf(shelf, slot));
  }

  /** What was forgotten is answered again. */
  recallRemoved(target: Target): void {
    this.#removed.set(addressOf(target.shelf, target.slot), target);
  }

  /** Addresses at which something is answered. */
  addresses(): Target[] {
    return [...this.#byAddress.values(), ...this.#removed.values()];
  }

  /** @returns the target at exactly this address */
  get(shelf: number, slot: number): Target | undefined {
    return this.#byAddress.get(addressOf(shelf, slot));
  }

  get count(): number {
    return this.#byAddress.size;
  }

  all(): Target[] {
    return [...this.#byAddress.values()];
  }

  /** Every target that an address with a wildcard means, in the order in which they were added. */
  matching(shelf: number, slot: number): Target[] {
    return this.all().filter(
      (target) =>
        (shelf === ALL_SHELVES || shelf === target.shelf) &&
        (slot === ALL_SLOTS || slot === target.slot),
    );
  }

  /** Starts the storage requests of a batch of frames, and those that their completions add. */
  submit(): void {
    for (;;) {
      const target = this.#touched.pop();
      if (target === undefined) return;
      target.touched = false;
      target.storage.submit();
    }
  }

  /** Waits for changes of state, then closes every storage, which completes what is in flight. */
  async close(): Promise<void> {
    this.submit();
    await Promise.all(this.all().map(async (target) => target.settled()));
    // One that fails must not keep the others from being closed.
    const closing = this.all().map(async (target) => target.storage.close());
    for (const result of await Promise.allSettled(closing)) {
      if (result.status === "rejected") throw result.reason;
    }
  }
}

function addressOf(shelf: number, slot: number): number {
  return (shelf << 8) | slot;
}
