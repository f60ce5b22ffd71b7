import { hash as digest } from "node:crypto";
import { type Shim, shim } from "../native/shim.ts";

/** Every blob is named by the SHA-256 of its bytes. */
export const HASH_BYTES = 32;

/** The name that no blob has: it stands for "all zero" in the layers above. */
export const NULL_HASH: Uint8Array = new Uint8Array(HASH_BYTES);

export function hashOf(data: Uint8Array): Uint8Array {
  const result = new Uint8Array(HASH_BYTES);
  hashInto(data, result, 0);
  return result;
}

/** The digest goes through a Latin-1 string: Node makes that faster than a new Buffer. */
export function hashInto(data: Uint8Array, target: Uint8Array, targetOffset: number): void {
  const text = digest("sha256", data, "latin1");
  for (let index = 0; index < HASH_BYTES; index++) {
    target[targetOffset + index] = text.charCodeAt(index);
  }
}

type HashPieces = Shim["hashPieces"];

/** `hashPieces` with the runtime's own SHA-256, one piece after the other. */
export const hashPiecesOneByOne: HashPieces = (source, offsets, lengths, count, target) => {
  for (let index = 0; index < count; index++) {
    const piece = source.subarray(offsets[index], offsets[index] + lengths[index]);
    hashInto(piece, target, index * HASH_BYTES);
  }
};

/**
 * Hashes many pieces of one buffer; `target` gets 32 bytes for each. With the processor's own
 * instructions twice as fast as one by one; without them the runtime knows better.
 */
export const hashPieces: HashPieces = shim.hashIsAccelerated()
  ? shim.hashPieces
  : hashPiecesOneByOne;

export function hashesEqual(
  left: Uint8Array,
  leftOffset: number,
  right: Uint8Array,
  rightOffset: number,
): boolean {
  for (let index = 0; index < HASH_BYTES; index++) {
    if (left[leftOffset + index] !== right[rightOffset + index]) return false;
  }
  return true;
}

export function isNullHash(hashes: Uint8Array, offset: number): boolean {
  for (let index = 0; index < HASH_BYTES; index++) {
    if (hashes[offset + index] !== 0) return false;
  }
  return true;
}

/** A key for a Map: Latin-1, one character per byte. */
export function hashKey(hashes: Uint8Array, offset = 0): string {
  return Buffer.from(hashes.buffer, hashes.byteOffset + offset, HASH_BYTES).toString("latin1");
}

export function hashToHex(hashes: Uint8Array, offset = 0): string {
  return Buffer.from(hashes.buffer, hashes.byteOffset + offset, HASH_BYTES).toString("hex");
}

/** Undefined when the text is not 64 hexadecimal digits. */
export function hashFromHex(text: string): Uint8Array | undefined {
  if (!/^[0-9a-fA-F]{64}$/.test(text)) return undefined;
  return new Uint8Array(Buffer.from(text, "hex"));
}
