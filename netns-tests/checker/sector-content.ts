import { SECTOR_BYTES } from "../../src/storage/block-storage.ts";

/**
 * What a write of the checker puts into a sector: its LBA, the number of the write, and 126 words of
 * xorshift32 that depend on both. No two sectors that were ever written are alike.
 */
const WORDS = SECTOR_BYTES / 4;

export function fillSector(words: Uint32Array, atWord: number, lba: number, version: number): void {
  words[atWord] = lba;
  words[atWord + 1] = version;
  let state = (Math.imul(lba + 1, 2654435761) ^ Math.imul(version, 2246822519)) >>> 0 || 1;
  for (let word = atWord + 2; word < atWord + WORDS; word++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[word] = state;
  }
}

/** What a sector holds: 0 for zeros, the number of the write for its content, else -1. */
export function versionOf(words: Uint32Array, atWord: number, lba: number): number {
  const version = words[atWord + 1];
  if (version === 0) return isZero(words, atWord) ? 0 : -1;
  fillSector(expected, 0, lba, version);
  for (let word = 0; word < WORDS; word++) {
    if (words[atWord + word] !== expected[word]) return -1;
  }
  return version;
}

/** What versionOf has found, for people. */
export function describe(found: number): string {
  if (found < 0) return "what was never written there";
  return found === 0 ? "zeros" : `write ${found}`;
}

const expected = new Uint32Array(WORDS);

function isZero(words: Uint32Array, atWord: number): boolean {
  for (let word = atWord; word < atWord + WORDS; word++) if (words[word] !== 0) return false;
  return true;
}
