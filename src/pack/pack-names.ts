/**
 * The objects of a store. Every key that a writer makes has its epoch in it: what a former owner
 * still sends goes to names of its own, which nothing ever refers to.
 */
export const HEAD_KEY = "head";
export const LEASE_KEY = "lease";
export const PACKS = "packs/";
export const RUNS = "index/";
export const READERS = "readers/";

/** Names an object that a writer made: the epoch of its lease, and how many it made before. */
export interface ObjectId {
  readonly epoch: number;
  readonly counter: number;
}

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}

/** Spread over 256 prefixes: services share out their work by the beginning of keys. */
export function packKey({ epoch, counter }: ObjectId): string {
  return `${PACKS}${hex(counter).slice(-2)}/${hex(epoch)}-${hex(counter)}`;
}

export function runKey({ epoch, counter }: ObjectId): string {
  return `${RUNS}${hex(epoch)}-${hex(counter)}`;
}

export function readerKey(id: string): string {
  return `${READERS}${id}`;
}

/** The id in a key of a pack or of an index; undefined for any other object. */
export function idOfKey(key: string): ObjectId | undefined {
  const match = /\/([0-9a-f]{8})-([0-9a-f]{8})$/.exec(key);
  if (match === null) return undefined;
  return { epoch: parseInt(match[1], 16), counter: parseInt(match[2], 16) };
}
