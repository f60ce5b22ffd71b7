import { targetName } from "../config/configuration.ts";
import { UsageError } from "../errors.ts";
import type { ServedAddress } from "../ethernet/shelf-filter.ts";
import type { Worker } from "./worker.ts";

/** Which worker has which target. */
export class Placement {
  readonly #served = new Map<
    string,
    { readonly worker: Worker; readonly address: ServedAddress }
  >();
  /** Who answers at an address that its target was removed, until another takes its place. */
  readonly #removed = new Map<string, Worker>();

  add({ shelf, slot }: ServedAddress, worker: Worker): void {
    const name = targetName({ shelf, slot });
    this.#served.set(name, { worker, address: { shelf, slot } });
    this.#removed.delete(name);
  }

  remove(address: ServedAddress): void {
    const name = targetName(address);
    this.#removed.set(name, this.at(address));
    this.#served.delete(name);
  }

  /** Nothing answers there any more, not even with a fault. */
  forget(address: ServedAddress): void {
    this.#served.delete(targetName(address));
  }

  /** @throws UsageError when there is no such target */
  at(address: ServedAddress): Worker {
    const found = this.#served.get(targetName(address));
    if (found !== undefined) return found.worker;
    throw new UsageError(`${targetName(address)}: this server has no such target`);
  }

  has(address: ServedAddress): boolean {
    return this.#served.has(targetName(address));
  }

  removedFrom(address: ServedAddress): Worker | undefined {
    return this.#removed.get(targetName(address));
  }

  /** The addresses that any other worker serves. */
  elsewhere(worker: Worker): ServedAddress[] {
    const others = [...this.#served.values()].filter((one) => one.worker !== worker);
    return others.map(({ address }) => address);
  }

  countOf(worker: Worker): number {
    return [...this.#served.values()].filter((one) => one.worker === worker).length;
  }
}
