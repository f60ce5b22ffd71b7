import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HASH_BYTES, hashOf, hashToHex, NULL_HASH } from "../blob/hash.ts";
import { MemoryStore } from "../blob/memory-store.ts";
import { Geometry } from "./geometry.ts";
import {
  decodeNode,
  decodeRoot,
  encodeNode,
  encodeRoot,
  MAX_NODE_BYTES,
  PAGE_BYTES,
} from "./merkle-node.ts";
import { naiveTop } from "./merkle.testing.ts";
import { NodeReader } from "./node-reader.ts";
import { NodeWriter } from "./node-writer.ts";
import { Found, Overlay } from "./overlay.ts";
import { TreeBuilder } from "./tree-builder.ts";
import { diffTrees, walkTree } from "./tree-walk.ts";

const pace = async (): Promise<void> => {};

interface Change {
  readonly kind: "set" | "clear";
  readonly first: number;
  readonly count: number;
  readonly value: number;
}

/** Positions near the borders of leaves, regions and higher nodes are the interesting ones. */
function changesIn(blocks: number): fc.Arbitrary<Change[]> {
  const position = fc.oneof(
    fc.nat(blocks - 1),
    fc.constantFrom(0, 127, 128, 16383, 16384, 2097151, 2097152, blocks - 1),
  );
  const length = fc.oneof(fc.constantFrom(1, 128, 16384, 2097152, blocks), fc.nat(40000));
  const change = fc.record({
    kind: fc.constantFrom("set" as const, "set" as const, "clear" as const),
    first: position.map((at) => at % blocks),
    count: length,
    value: fc.nat(4),
  });
  return fc.array(change, { maxLength: 40 });
}

/** Value 0 is a block of zeros. */
function hashOfValue(value: number): Uint8Array {
  return value === 0 ? NULL_HASH : hashOf(Buffer.from(`block ${value}`));
}

function apply(changes: readonly Change[], blocks: number, overlay: Overlay, model: Model): void {
  for (const { kind, first, count, value } of changes) {
    if (kind === "set") {
      overlay.set(first, hashOfValue(value), 0);
      if (value === 0) model.delete(first);
      else model.set(first, hashOfValue(value));
      continue;
    }
    const end = Math.min(first + count, blocks);
    overlay.clear(first, end - first);
    for (const block of model.keys()) if (block >= first && block < end) model.delete(block);
  }
}

type Model = Map<number, Uint8Array>;

async function tools(): Promise<{ reader: NodeReader; builder: TreeBuilder }> {
  const store = await MemoryStore.open({ image: () => {}, note: () => {} });
  const reader = new NodeReader(store);
  return { reader, builder: new TreeBuilder(reader, new NodeWriter(store), { pace }) };
}

describe.each([100, 128, 129, 16384, 20000, 2097152, 5000000, 300000000])(
  "the tree of %i blocks",
  (blocks) => {
    const geometry = new Geometry(blocks * 4096, 4096);

    test("is the naive one after any rounds of changes, and looks up the same", async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(changesIn(blocks), { minLength: 1, maxLength: 3 }),
          async (rounds) => {
            const { reader, builder } = await tools();
            const model: Model = new Map();
            let top = NULL_HASH;
            for (const changes of rounds) {
              const overlay = new Overlay(geometry.height);
              apply(changes, blocks, overlay, model);
              const base = { top, height: geometry.height };
              top = await builder.build(base, overlay, geometry.height);
              expect(hashToHex(top)).toBe(naiveTop(model, geometry));
            }
            const walked: Model = new Map();
            await walkTree(reader, top, geometry.height, {
              leaf: (page, first) => {
                for (let at = 0; at < 128; at++) {
                  const hash = page.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES);
                  if (hash.some((byte) => byte !== 0)) walked.set(first + at, hash);
                }
              },
            });
            expect([...walked]).toEqual([...model].toSorted(([left], [right]) => left - right));
          },
        ),
        { numRuns: 25 },
      );
    });

    test("is the same whether changes come in one overlay or in two on top of each other", async () => {
      await fc.assert(
        fc.asyncProperty(changesIn(blocks), changesIn(blocks), async (older, newer) => {
          const { builder } = await tools();
          const model: Model = new Map();
          const below = new Overlay(geometry.height);
          const above = new Overlay(geometry.height);
          apply(older, blocks, below, model);
          apply(newer, blocks, above, model);
          below.absorb(above);
          const target = new Uint8Array(HASH_BYTES);
          for (const { first } of [...older, ...newer]) {
            const found = below.lookup(first, target, 0);
            const expected = model.get(first);
            if (expected === undefined) expect(found).not.toBe(Found.hash);
            else expect(hashToHex(target)).toBe(hashToHex(expected));
          }
          let entries = 0;
          below.visit({ cleared: () => {}, entry: () => entries++ });
          expect(below.entryCount).toBe(entries);
          const base = { top: NULL_HASH, height: geometry.height };
          const top = await builder.build(base, below, geometry.height);
          expect(hashToHex(top)).toBe(naiveTop(model, geometry));
        }),
        { numRuns: 25 },
      );
    });

    test("differs exactly in the blocks that differ", async () => {
      await fc.assert(
        fc.asyncProperty(changesIn(blocks), changesIn(blocks), async (first, second) => {
          const { reader, builder } = await tools();
          const { height } = geometry;
          const trees = [];
          const models: Model[] = [];
          for (const changes of [first, [...first, ...second]]) {
            const model: Model = new Map();
            const overlay = new Overlay(height);
            apply(changes, blocks, overlay, model);
            trees.push({
              top: await builder.build({ top: NULL_HASH, height }, overlay, height),
              height,
            });
            models.push(model);
          }
          const found: number[] = [];
          await diffTrees(reader, trees[0], trees[1], (start, count) => {
            for (let block = start; block < start + count; block++) found.push(block);
          });
          const named = (model: Model, block: number): string =>
            hashToHex(model.get(block) ?? NULL_HASH);
          const expected = [...new Set(models.flatMap((model) => [...model.keys()]))]
            .filter((block) => named(models[0], block) !== named(models[1], block))
            .toSorted((left, right) => left - right);
          expect(found).toEqual(expected);
        }),
        { numRuns: 15 },
      );
    });
  },
);

test("grows: the old tree is a part of the higher one", async () => {
  const { reader, builder } = await tools();
  const sizes = [100, 128, 10000, 16385, 3000000];
  const model: Model = new Map();
  let base = { top: NULL_HASH, height: 1 };
  for (const blocks of sizes) {
    const geometry = new Geometry(blocks * 512, 512);
    const overlay = new Overlay(base.height);
    overlay.set(blocks % 97, hashOfValue(1), 0);
    overlay.raise(geometry.height);
    overlay.set(blocks - 1, hashOfValue(2), 0);
    model.set(blocks % 97, hashOfValue(1)).set(blocks - 1, hashOfValue(2));
    const top = await builder.build(base, overlay, geometry.height);
    expect(hashToHex(top)).toBe(naiveTop(model, geometry));
    const found: number[] = [];
    await diffTrees(reader, base, { top, height: geometry.height }, (first) => found.push(first));
    expect(found).toContain(blocks - 1);
    expect(found.every((block) => block === blocks - 1 || block === blocks % 97)).toBe(true);
    base = { top, height: geometry.height };
  }
});

test("clearing a disk of 16 TiB and writing to it afterwards costs next to nothing", async () => {
  const geometry = new Geometry(2 ** 44, 4096);
  const overlay = new Overlay(geometry.height);
  overlay.clear(1, geometry.blocks - 2);
  overlay.set(geometry.blocks / 2, hashOfValue(3), 0);
  expect(overlay.entryCount).toBeLessThan(400);
  const target = new Uint8Array(HASH_BYTES);
  expect(overlay.lookup(12345678, target, 0)).toBe(Found.zero);
  expect(overlay.lookup(0, target, 0)).toBe(Found.nothing);
  expect(overlay.lookup(geometry.blocks / 2, target, 0)).toBe(Found.hash);
  const { builder } = await tools();
  const top = await builder.build(
    { top: NULL_HASH, height: geometry.height },
    overlay,
    geometry.height,
  );
  expect(hashToHex(top)).toBe(naiveTop(new Map([[geometry.blocks / 2, hashOfValue(3)]]), geometry));
});

test("nodes and roots decode to what was encoded, and nothing else decodes", () => {
  const bits = fc.uint8Array({ minLength: 128, maxLength: 128 });
  fc.assert(
    fc.property(bits, fc.integer({ min: 1, max: 8 }), fc.nat(), (present, level, flip) => {
      const page = new Uint8Array(PAGE_BYTES);
      present.forEach((value, child) => {
        if (value % 2 === 1) page.set(hashOfValue(value), child * HASH_BYTES);
      });
      const node = new Uint8Array(MAX_NODE_BYTES);
      const length = encodeNode(level, page, 0, node, 0);
      if (length === 0) {
        expect(page.every((byte) => byte === 0)).toBe(true);
        return;
      }
      expect(length % 32).toBe(8);
      const decoded = new Uint8Array(PAGE_BYTES).fill(1);
      expect(decodeNode(level, node.subarray(0, length), decoded, 0)).toBe(true);
      expect(decoded).toEqual(page);
      expect(decodeNode(level + 1, node.subarray(0, length), decoded, 0)).toBe(false);
      expect(decodeNode(level, node.subarray(0, length - 1), decoded, 0)).toBe(false);
      node[flip % 16] ^= 1;
      expect(decodeNode(level, node.subarray(0, length), decoded, 0)).toBe(false);
    }),
  );
  const root = { sizeBytes: 2 ** 44, blockBytes: 4096, height: 5, top: hashOfValue(1) };
  const bytes = encodeRoot(root);
  expect(bytes.length % 32).toBe(8);
  expect(decodeRoot(bytes)).toEqual(root);
  expect(decodeRoot(bytes.subarray(1))).toBeUndefined();
  bytes[3] ^= 1;
  expect(decodeRoot(bytes)).toBeUndefined();
});
