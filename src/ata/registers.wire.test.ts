import fc from "fast-check";
import { expect, test } from "vitest";
import { dataSetRange, writeDataSetRange } from "./data-set.wire.ts";
import {
  ataCommand,
  ataErrorRegister,
  ataFeatures,
  ataSectorCount,
  ataStatus,
  lba28,
  lba48,
  writeAtaRegisters,
  writeAtaResult,
} from "./registers.wire.ts";

const octet = fc.integer({ min: 0, max: 255 });
const lbas = fc.integer({ min: 0, max: 2 ** 48 - 1 });

test("registers are read as they were written, and 28-bit addresses ignore the rest", () => {
  fc.assert(
    fc.property(octet, octet, octet, octet, lbas, (flags, features, sectorCount, command, lba) => {
      const bytes = new Uint8Array(40);
      writeAtaRegisters(bytes, 2, { flags, features, sectorCount, command, lba });
      expect(ataFeatures(bytes, 2)).toBe(features);
      expect(ataSectorCount(bytes, 2)).toBe(sectorCount);
      expect(ataCommand(bytes, 2)).toBe(command);
      expect(lba48(bytes, 2)).toBe(lba);
      expect(lba28(bytes, 2)).toBe(lba % 2 ** 28);
    }),
  );
});

test("a result replaces the registers and leaves the address", () => {
  const bytes = new Uint8Array(40).fill(0xff);
  writeAtaRegisters(bytes, 0, { flags: 0, features: 1, sectorCount: 2, command: 3, lba: 12345678 });
  writeAtaResult(bytes, 0, 0x41, 0x10, 0);
  expect([ataStatus(bytes, 0), ataErrorRegister(bytes, 0), ataSectorCount(bytes, 0)]).toEqual([
    0x41, 0x10, 0,
  ]);
  expect(lba48(bytes, 0)).toBe(12345678);
  expect([bytes[34], bytes[35], bytes[36]]).toEqual([0, 0, 0xff]);
});

test("TRIM ranges are read as they were written", () => {
  fc.assert(
    fc.property(lbas, fc.integer({ min: 0, max: 65535 }), (lba, sectors) => {
      const bytes = new Uint8Array(512);
      writeDataSetRange(bytes, 0, 63, { lba, sectors });
      expect(dataSetRange(bytes, 0, 63)).toEqual({ lba, sectors });
    }),
  );
});
