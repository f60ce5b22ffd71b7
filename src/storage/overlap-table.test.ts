import * as fc from "fast-check";
import { expect, test } from "vitest";
import { BlockOperation } from "./block-storage.ts";
import { Operation } from "./operation.ts";
import { OverlapTable } from "./overlap-table.ts";

let sequence = 0;

function operation(kind: BlockOperation, lba: number, sectors: number, ordered = false): Operation {
  const created = new Operation(0);
  created.kind = kind;
  created.lba = lba;
  created.end = lba + sectors;
  created.sequence = ++sequence;
  created.ordered = ordered;
  return created;
}

const anyOperation = fc.record({
  kind: fc.constantFrom(BlockOperation.read, BlockOperation.write, BlockOperation.trim),
  lba: fc.oneof(fc.nat({ max: 200 }), fc.integer({ min: 2 ** 40, max: 2 ** 40 + 100 })),
  sectors: fc.oneof(
    fc.integer({ min: 1, max: 32 }),
    fc.integer({ min: 33, max: 80 }),
    fc.constant(2 ** 41),
  ),
  ordered: fc.boolean(),
  /** Whether the operation before this one is removed first. */
  remove: fc.boolean(),
});

test("finds what a look at every operation finds", () => {
  const property = fc.property(fc.array(anyOperation, { maxLength: 60 }), (steps) => {
    const table = new OverlapTable();
    const inside: Operation[] = [];
    for (const { kind, lba, sectors, ordered, remove } of steps) {
      if (remove && inside.length > 0) {
        const [gone] = inside.splice((lba * 7) % inside.length, 1);
        table.remove(gone);
      }
      const added = operation(kind, lba, sectors);
      added.ordered = ordered && added.changesData;
      expect(table.findBlocker(added)).toBe(lastBlocker(inside, added));
      table.insert(added);
      inside.push(added);
      expect(table.count).toBe(inside.length);
    }
    for (const each of inside) table.remove(each);
    expect(table.count).toBe(0);
    expect(table.findBlocker(operation(BlockOperation.write, 0, 2 ** 42))).toBeNull();
  });
  fc.assert(property, { numRuns: 500 });
});

function lastBlocker(inside: Operation[], added: Operation): Operation | null {
  const blocks = (other: Operation): boolean => {
    if (other.end <= added.lba || other.lba >= added.end) return false;
    if (!added.changesData) return other.changesData;
    return !other.changesData || !other.ordered;
  };
  return inside.findLast(blocks) ?? null;
}

test("a read shares the data of an identical one, unless a write lies between", () => {
  const table = new OverlapTable();
  const first = operation(BlockOperation.read, 8, 8);
  table.insert(first);
  const shorter = operation(BlockOperation.read, 8, 4);
  expect(table.identicalRead(table.findBlocker(shorter))).toBeNull();
  const same = operation(BlockOperation.read, 8, 8);
  expect(table.identicalRead(table.findBlocker(same))).toBe(first);

  table.insert(operation(BlockOperation.write, 15, 1));
  const later = operation(BlockOperation.read, 8, 8);
  expect(table.identicalRead(table.findBlocker(later))).toBeNull();
  table.insert(later);
  const last = operation(BlockOperation.read, 8, 8);
  expect(table.identicalRead(table.findBlocker(last))).toBe(later);
});
