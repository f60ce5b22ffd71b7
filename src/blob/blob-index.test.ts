import * as fc from "fast-check";
import { expect, test } from "vitest";
import { BlobIndex } from "./blob-index.ts";
import { hashOf } from "./hash.ts";

/** Few distinct 64-bit tags, so that entries collide, wrap around and share their tag. */
function clusteredHash(number: number): Uint8Array {
  const hash = new Uint8Array(32);
  hash[3] = number % 3;
  hash[4] = number % 2 === 0 ? 0xff : 0;
  hash[5] = 0xff;
  hash[31] = number;
  return hash;
}

function nameOf(key: number, place: number): string {
  return `${Buffer.from(clusteredHash(key).subarray(0, 8)).toString("hex")}@${place}`;
}

test("behaves as a map of places under inserts, removals, moves and marks", () => {
  const command = fc.record({
    action: fc.constantFrom("insert", "insert", "insert", "remove", "move", "mark"),
    key: fc.nat(40),
    place: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(command, { maxLength: 300 }), (commands) => {
      const index = new BlobIndex();
      index.beginMarks();
      const model = new Map<string, { key: number; length: number; mark: number }>();
      let serial = 0;
      for (const { action, key, place } of commands) {
        const hash = clusteredHash(key);
        const name = nameOf(key, place);
        const known = model.get(name);
        const found = index.findAt(hash, 0, place, place * 64 + 64);
        expect(found).toBe(known !== undefined);
        if (known !== undefined) expect(index.markFound).toBe(known.mark);
        if (action === "insert" && known === undefined) {
          index.insert(hash, 0, place, place * 64 + 64, ++serial, serial % 5);
          model.set(name, { key, length: serial, mark: serial % 5 });
        } else if (action === "remove" && known !== undefined) {
          index.removeFound();
          model.delete(name);
        } else if (action === "mark" && known !== undefined) {
          index.markFound = place;
          known.mark = place;
        } else if (action === "move" && known !== undefined && !model.has(nameOf(key, place + 1))) {
          index.moveFound(place + 1, (place + 1) * 64 + 64);
          model.delete(name);
          model.set(nameOf(key, place + 1), known);
        }
      }
      expect(index.count).toBe(model.size);
      let bytes = 0;
      for (const [name, { key, length, mark }] of model) {
        const place = Number(name.split("@")[1]);
        expect(index.findAt(clusteredHash(key), 0, place, place * 64 + 64)).toBe(true);
        expect(index.lengthBytes).toBe(length);
        expect(index.markFound).toBe(mark);
        bytes += length;
      }
      expect(index.totalBytes).toBe(bytes);
    }),
  );
});

test("takes at most 40 bytes a blob at every size, marks included, and grows in small steps", () => {
  const index = new BlobIndex();
  const hash = new Uint8Array(32);
  const words = new Uint32Array(hash.buffer);
  index.beginMarks();
  let state = 12345;
  let largestStep = 0;
  const total = 1_500_000;
  for (let count = 1; count <= total; count++) {
    for (let word = 0; word < 2; word++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      words[word] = Math.imul(state ^ (state >>> 15), 0x85ebca6b);
    }
    const before = index.memoryBytes;
    index.insert(hash, 0, count & 0xffff, (count & 0xffff) * 64 + 64, 4096);
    largestStep = Math.max(largestStep, index.memoryBytes - before);
    if (count >= 100_000 && count % 50_000 === 0) {
      expect(index.memoryBytes / count).toBeLessThan(40);
    }
  }
  expect(index.memoryBytes / total).toBeLessThan(30);
  // One step adds a quarter to one shard of 4096: nothing else is moved.
  expect(largestStep).toBeGreaterThan(0);
  expect(largestStep).toBeLessThan(index.memoryBytes / 4096);
});

test("keeps the extremes of segment, offset and length apart", () => {
  const index = new BlobIndex();
  const hash = hashOf(Buffer.from("x"));
  index.insert(hash, 0, (1 << 22) - 1, 64 * 1024 * 1024 - 64, (1 << 22) - 1);
  expect(index.find(hash, 0)).toBe(true);
  expect(index.segmentSlot).toBe((1 << 22) - 1);
  expect(index.offset).toBe(64 * 1024 * 1024 - 64);
  expect(index.lengthBytes).toBe((1 << 22) - 1);
  expect(index.findNext()).toBe(false);
});
