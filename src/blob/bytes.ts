const copy = Buffer.prototype.copy;
const compare = Buffer.prototype.compare;

/**
 * Copies within or between byte arrays. `target.set(source.subarray(…))` does the same, but makes
 * an object of a hundred bytes for each call, which costs more than a small copy.
 */
export function copyBytes(
  source: Uint8Array,
  sourceOffset: number,
  target: Uint8Array,
  targetOffset: number,
  lengthBytes: number,
): void {
  copy.call(source, target, targetOffset, sourceOffset, sourceOffset + lengthBytes);
}

/** Whether `lengthBytes` bytes are the same in both. */
export function bytesEqual(
  left: Uint8Array,
  leftOffset: number,
  right: Uint8Array,
  rightOffset: number,
  lengthBytes: number,
): boolean {
  const rightEnd = rightOffset + lengthBytes;
  const leftEnd = leftOffset + lengthBytes;
  return compare.call(left, right, rightOffset, rightEnd, leftOffset, leftEnd) === 0;
}
