import { type ByteRange, ObjectFault } from "./object-store.ts";

/** The octets [begin, end) of an object of `sizeBytes`. @throws ObjectFault `corrupt` */
export function rangeOf(
  range: ByteRange | undefined,
  sizeBytes: number,
  key: string,
): { begin: number; end: number } {
  if (range === undefined) return { begin: 0, end: sizeBytes };
  const { offsetBytes, lengthBytes } = range;
  if (lengthBytes < 1 || offsetBytes < 0) throw new RangeError(`${offsetBytes}+${lengthBytes}`);
  if (offsetBytes >= sizeBytes) {
    throw new ObjectFault(
      "corrupt",
      `object ${key} ends at ${sizeBytes}, before the range at ${offsetBytes}`,
    );
  }
  return { begin: offsetBytes, end: Math.min(sizeBytes, offsetBytes + lengthBytes) };
}
