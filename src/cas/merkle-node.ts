import { HASH_BYTES } from "../blob/hash.ts";
import { ARITY } from "./geometry.ts";

/**
 * Nodes and root descriptors as blobs; see docs/formats/merkle-tree.md.
 *
 * Both have a length of 8 more than a multiple of 32. Blocks are powers of two from 512 on, so no
 * block that a client writes can ever be the same blob as a node.
 */
const NODE_MAGIC = Buffer.from("aoed merkle node");
const ROOT_MAGIC = Buffer.from("aoed volume root");
const VERSION = 1;
const HASH_SHA256 = 1;

const NODE_HEADER_BYTES = 40;
const BITMAP_OFFSET = 24;
export const PAGE_BYTES = ARITY * HASH_BYTES;
export const MAX_NODE_BYTES = NODE_HEADER_BYTES + PAGE_BYTES;
const ROOT_BYTES = 72;

/** What the hashes of a disk hang from. Its own hash is the id of the disk's whole content. */
export interface RootDescriptor {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly height: number;
  /** Hash of the node at the top; the null hash for a disk of zeros. */
  readonly top: Uint8Array;
}

/**
 * Writes a node: the header, a bit for each child that is not null, and the hashes of those.
 *
 * @param page 128 hashes, at a multiple of four bytes in its buffer
 * @returns the length; 0 when all children are null, and the node is the null hash itself
 */
export function encodeNode(
  level: number,
  page: Uint8Array,
  pageOffset: number,
  target: Uint8Array,
  targetOffset: number,
): number {
  const words = pageWords(page, pageOffset);
  let at = targetOffset + NODE_HEADER_BYTES;
  let count = 0;
  target.fill(0, targetOffset, at);
  for (let child = nextChild(words, 0); child < ARITY; child = nextChild(words, child + 1)) {
    const from = pageOffset + child * HASH_BYTES;
    for (let byte = 0; byte < HASH_BYTES; byte++) target[at + byte] = page[from + byte];
    target[targetOffset + BITMAP_OFFSET + (child >> 3)] |= 1 << (child & 7);
    at += HASH_BYTES;
    count++;
  }
  if (count === 0) return 0;
  target.set(NODE_MAGIC, targetOffset);
  target[targetOffset + 16] = VERSION;
  target[targetOffset + 17] = level;
  target[targetOffset + 18] = count;
  return at - targetOffset;
}

/** A page as words, for `nextChild`. It begins at a multiple of four bytes in its buffer. */
export function pageWords(page: Uint8Array, pageOffset = 0): Int32Array {
  return new Int32Array(page.buffer, page.byteOffset + pageOffset, PAGE_BYTES / 4);
}

/**
 * The first child from `child` on that is not null, or 128. Most children of most nodes are null:
 * eight words are looked at sooner than 32 bytes.
 */
export function nextChild(words: Int32Array, child: number): number {
  let next = child;
  for (; next < ARITY; next++) {
    const word = next * 8;
    if ((words[word] | words[word + 1] | words[word + 2] | words[word + 3]) !== 0) break;
    if ((words[word + 4] | words[word + 5] | words[word + 6] | words[word + 7]) !== 0) break;
  }
  return next;
}

/** Fills a page from a node; false when the bytes are no node of this level. */
export function decodeNode(
  level: number,
  node: Uint8Array,
  page: Uint8Array,
  pageOffset: number,
): boolean {
  if (node.length < NODE_HEADER_BYTES || !startsWith(node, NODE_MAGIC)) return false;
  if (node[16] !== VERSION || node[17] !== level) return false;
  page.fill(0, pageOffset, pageOffset + PAGE_BYTES);
  let at = NODE_HEADER_BYTES;
  for (let child = 0; child < ARITY; child++) {
    if ((node[BITMAP_OFFSET + (child >> 3)] & (1 << (child & 7))) === 0) continue;
    if (at + HASH_BYTES > node.length) return false;
    const to = pageOffset + child * HASH_BYTES;
    for (let byte = 0; byte < HASH_BYTES; byte++) page[to + byte] = node[at + byte];
    at += HASH_BYTES;
  }
  return at === node.length;
}

export function encodeRoot(root: RootDescriptor): Uint8Array {
  const bytes = new Uint8Array(ROOT_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(ROOT_MAGIC);
  view.setUint32(16, VERSION, true);
  view.setUint32(20, root.blockBytes, true);
  view.setBigUint64(24, BigInt(root.sizeBytes), true);
  view.setUint16(32, ARITY, true);
  view.setUint16(34, HASH_SHA256, true);
  view.setUint32(36, root.height, true);
  bytes.set(root.top, 40);
  return bytes;
}

/** Undefined when the bytes are no root descriptor of this version. */
export function decodeRoot(bytes: Uint8Array): RootDescriptor | undefined {
  if (bytes.length !== ROOT_BYTES || !startsWith(bytes, ROOT_MAGIC)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(16, true) !== VERSION) return undefined;
  if (view.getUint16(32, true) !== ARITY || view.getUint16(34, true) !== HASH_SHA256) {
    return undefined;
  }
  return {
    blockBytes: view.getUint32(20, true),
    sizeBytes: Number(view.getBigUint64(24, true)),
    height: view.getUint32(36, true),
    top: bytes.slice(40, 72),
  };
}

function startsWith(bytes: Uint8Array, magic: Uint8Array): boolean {
  return magic.every((byte, index) => bytes[index] === byte);
}
