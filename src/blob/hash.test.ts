import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { shim } from "../native/shim.ts";
import { hashFromHex, hashOf, hashPieces, hashPiecesOneByOne, hashToHex } from "./hash.ts";

const variants = {
  "as used": hashPieces,
  accelerated: shim.hashPieces,
  portable: shim.hashPiecesPortable,
  "one by one": hashPiecesOneByOne,
};

function digestOf(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

describe.each(Object.entries(variants))("hashes pieces %s", (_name, hash) => {
  test("as node:crypto does, for any places and lengths", () => {
    // Runs of equal lengths go side by side; the lengths around a block's end are the hard ones.
    const length = fc.oneof(fc.constantFrom(0, 55, 56, 63, 64, 65, 119, 120, 4096), fc.nat(5000));
    const runs = fc.array(fc.tuple(length, fc.integer({ min: 1, max: 7 })), { maxLength: 8 });
    const source = fc.uint8Array({ minLength: 10_000, maxLength: 10_000, size: "max" });
    fc.assert(
      fc.property(source, runs, fc.nat(5000), (bytes, lengthRuns, start) => {
        const lengths = Uint32Array.from(
          lengthRuns.flatMap(([each, times]) => Array.from({ length: times }, () => each)),
        );
        const offsets = lengths.map((each, index) => (start + index * 77) % (10_001 - each));
        const target = new Uint8Array((lengths.length + 1) * 32).fill(0xaa);
        hash(bytes, offsets, lengths, lengths.length, target);
        lengths.forEach((each, index) => {
          const piece = bytes.subarray(offsets[index], offsets[index] + each);
          expect(hashToHex(target, index * 32)).toBe(digestOf(piece));
        });
        expect(target.subarray(lengths.length * 32)).toEqual(new Uint8Array(32).fill(0xaa));
      }),
      { numRuns: 60 },
    );
  });

  test("from the middle of a larger buffer", () => {
    const memory = new Uint8Array(10_000).map((_, index) => index * 7);
    const source = memory.subarray(1000, 9000);
    const target = new Uint8Array(160).subarray(32, 128);
    hash(source, Uint32Array.of(0, 100, 3904), Uint32Array.of(4096, 4096, 4096), 3, target);
    expect(hashToHex(target, 64)).toBe(digestOf(source.subarray(3904, 8000)));
    expect(hashToHex(target, 32)).toBe(digestOf(source.subarray(100, 4196)));
  });
});

test("the shim refuses pieces outside of the buffer and arrays that are too short", () => {
  const source = new Uint8Array(100);
  const hash = (offset: number, length: number, count: number, targetBytes: number) => () =>
    shim.hashPieces(
      source,
      Uint32Array.of(offset),
      Uint32Array.of(length),
      count,
      new Uint8Array(targetBytes),
    );
  expect(hash(50, 51, 1, 32)).toThrow(/outside/);
  expect(hash(101, 0, 1, 32)).toThrow(/outside/);
  expect(hash(4294967295, 1, 1, 32)).toThrow(/outside/);
  expect(hash(0, 10, 2, 64)).toThrow(/too short/);
  expect(hash(0, 10, 1, 31)).toThrow(/too short/);
  expect(hash(100, 0, 1, 32)).not.toThrow();
});

test("names go to hexadecimal and back", () => {
  const hash = hashOf(Buffer.from("abc"));
  expect(hashToHex(hash)).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect(hashFromHex(hashToHex(hash))).toEqual(hash);
  expect(hashFromHex("ba78")).toBeUndefined();
  expect(hashFromHex("x".repeat(64))).toBeUndefined();
});
