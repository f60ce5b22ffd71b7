import { HASH_BYTES, hashOf, hashToHex, isNullHash } from "../blob/hash.ts";
import { ARITY, type Geometry, spanOf } from "./geometry.ts";

/**
 * The tree as the format document describes it, from the whole content, with nothing shared with
 * the code under test: the hash of the top node.
 */
export function naiveTop(blocks: Map<number, Uint8Array>, geometry: Geometry): string {
  return hashToHex(naiveNode(blocks, geometry.height, 0));
}

function naiveNode(blocks: Map<number, Uint8Array>, level: number, first: number): Uint8Array {
  if (level === 0) return blocks.get(first) ?? new Uint8Array(HASH_BYTES);
  const span = spanOf(level);
  const isEmpty = ![...blocks.keys()].some((block) => block >= first && block < first + span);
  if (isEmpty) return new Uint8Array(HASH_BYTES);
  const children = Array.from({ length: ARITY }, (_, child) =>
    naiveNode(blocks, level - 1, first + child * spanOf(level - 1)),
  );
  const bitmap = new Uint8Array(16);
  const present: Uint8Array[] = [];
  children.forEach((hash, child) => {
    if (isNullHash(hash, 0)) return;
    bitmap[Math.floor(child / 8)] += 2 ** (child % 8);
    present.push(hash);
  });
  if (present.length === 0) return new Uint8Array(HASH_BYTES);
  const header = Buffer.alloc(8);
  header[0] = 1;
  header[1] = level;
  header[2] = present.length;
  return hashOf(Buffer.concat([Buffer.from("aoed merkle node"), header, bitmap, ...present]));
}
