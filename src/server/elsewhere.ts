import { ALL_SHELVES, ALL_SLOTS } from "../aoe/header.wire.ts";
import type { ServedAddress } from "../ethernet/shelf-filter.ts";

/**
 * What the other workers of a server answer. A frame to a wildcard address, or on a port without a
 * filter, reaches every worker, and one of them counts it when nobody has such a target: the first.
 */
export class Elsewhere {
  readonly #countsUnserved: boolean;
  #addresses: readonly ServedAddress[] = [];

  /** @param worker which worker this is; the first is 0 */
  constructor(worker: number) {
    this.#countsUnserved = worker === 0;
  }

  set(addresses: readonly ServedAddress[]): void {
    this.#addresses = addresses;
  }

  /** Whether this worker can leave a frame to others that no target of its own is asked. */
  has(shelf: number, slot: number): boolean {
    if (!this.#countsUnserved) return true;
    return this.#addresses.some(
      (address) =>
        (shelf === ALL_SHELVES || shelf === address.shelf) &&
        (slot === ALL_SLOTS || slot === address.slot),
    );
  }
}
