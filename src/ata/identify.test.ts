import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { StorageInfo } from "../storage/block-storage.ts";
import { IDENTIFY_BYTES, readIdentify, serialNumber, writeIdentify } from "./identify.ts";

const disk: StorageInfo = {
  description: "test",
  sectors: 2048,
  physicalBlockBytes: 512,
  readOnly: false,
  canTrim: false,
  durability: "durable",
};
const identity = { shelf: 1, slot: 0, firmware: "0.1.0", trimBlocks: 2 };

function identify(info: StorageInfo): Uint8Array {
  const bytes = new Uint8Array(IDENTIFY_BYTES).fill(0xee);
  writeIdentify(bytes, 0, identity, info);
  return bytes;
}

function word(bytes: Uint8Array, index: number): number {
  return bytes[index * 2] | (bytes[index * 2 + 1] << 8);
}

function words48(bytes: Uint8Array): number {
  return [103, 102, 101, 100].reduce((size, index) => size * 0x10000 + word(bytes, index), 0);
}

describe("IDENTIFY DEVICE", () => {
  test("the words that initiators read", () => {
    const bytes = identify(disk);
    expect([49, 83, 84, 86, 87, 93].map((index) => word(bytes, index))).toEqual([
      0x0200, 0x7400, 0x4100, 0x3400, 0x4100, 0x400b,
    ]);
    expect(readIdentify(bytes, 0)).toEqual({
      sectors: 2048,
      model: "aoed",
      serial: serialNumber(1, 0).slice(0, 20),
      firmware: "0.1.0",
    });
  });

  test.each([
    [2 ** 28 - 2, 2 ** 28 - 2],
    [2 ** 28 - 1, 2 ** 28 - 1],
    [2 ** 28, 2 ** 28 - 1],
    [2 ** 48 - 1, 2 ** 28 - 1],
  ])("%d sectors are %d in 28 bits", (sectors, sectors28) => {
    const bytes = identify({ ...disk, sectors });
    expect(word(bytes, 60) + word(bytes, 61) * 0x10000).toBe(sectors28);
    expect(words48(bytes)).toBe(sectors);
  });

  test("the sum of all octets is a multiple of 256, whatever the disk", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 40 }),
        fc.boolean(),
        fc.constantFrom("durable" as const, "writeback" as const),
        (sectors, canTrim, durability) => {
          const bytes = identify({ ...disk, sectors, canTrim, durability });
          expect(bytes.reduce((sum, octet) => sum + octet, 0) % 256).toBe(0);
          expect(bytes[510]).toBe(0xa5);
        },
      ),
    );
  });

  test("TRIM, write cache and 4 KiB sectors are told when they are so, and only then", () => {
    const plain = identify(disk);
    expect([82, 85, 105, 106, 169].map((index) => word(plain, index))).toEqual([0, 0, 0, 0, 0]);
    const rich = identify({
      ...disk,
      canTrim: true,
      physicalBlockBytes: 4096,
      durability: "writeback",
    });
    expect([82, 85, 105, 106, 169].map((index) => word(rich, index))).toEqual([
      0x20, 0x20, 2, 0x6003, 1,
    ]);
    expect(word(identify({ ...disk, canTrim: true, readOnly: true }), 169)).toBe(0);
  });

  test("the world-wide name is NAA 3, stable, and different for another slot", () => {
    const name = (slot: number): number[] => {
      const bytes = new Uint8Array(IDENTIFY_BYTES);
      writeIdentify(bytes, 0, { ...identity, slot }, disk);
      return [108, 109, 110, 111].map((index) => word(bytes, index));
    };
    expect(name(0)[0] >>> 12).toBe(3);
    expect(name(0)).toEqual(name(0));
    expect(name(0)).not.toEqual(name(1));
  });
});
