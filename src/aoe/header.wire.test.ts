import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AOE_ETHER_TYPE,
  AOE_HEADER_BYTES,
  AoeError,
  AoeFlag,
  command,
  destinationMac,
  errorCode,
  etherType,
  flags,
  hasValidSource,
  isAddressedTo,
  readMac,
  shelf,
  slot,
  sourceMac,
  tag,
  version,
  writeHeader,
  writeMac,
  writeReplyHeader,
} from "./header.wire.ts";

const macs = fc.integer({ min: 0, max: 0xffffffffffff });
const headers = fc.record({
  destinationMac: macs,
  sourceMac: macs,
  flags: fc.integer({ min: 0, max: 15 }),
  shelf: fc.integer({ min: 0, max: 0xffff }),
  slot: fc.integer({ min: 0, max: 0xff }),
  command: fc.integer({ min: 0, max: 0xff }),
  tag: fc.integer({ min: 0, max: 0xffffffff }),
});

describe("AoE header", () => {
  test("what is written is read, at any offset, and nothing beside it changes", () => {
    fc.assert(
      fc.property(headers, fc.integer({ min: 0, max: 40 }), (header, at) => {
        const bytes = new Uint8Array(at + AOE_HEADER_BYTES + 8).fill(0xa5);
        writeHeader(bytes, at, header);
        expect({
          destinationMac: destinationMac(bytes, at),
          sourceMac: sourceMac(bytes, at),
          flags: flags(bytes, at),
          shelf: shelf(bytes, at),
          slot: slot(bytes, at),
          command: command(bytes, at),
          tag: tag(bytes, at),
        }).toEqual(header);
        expect(version(bytes, at)).toBe(1);
        expect(etherType(bytes, at)).toBe(AOE_ETHER_TYPE);
        const around = [...bytes.subarray(0, at), ...bytes.subarray(at + AOE_HEADER_BYTES)];
        expect(around.every((octet) => octet === 0xa5)).toBe(true);
      }),
    );
  });

  test("a known frame, octet by octet", () => {
    const bytes = new Uint8Array(AOE_HEADER_BYTES);
    writeHeader(bytes, 0, {
      destinationMac: 0xffffffffffff,
      sourceMac: 0x020000000001,
      flags: 0,
      shelf: 0xffff,
      slot: 0xff,
      command: 1,
      tag: 0x80000001,
    });
    expect(Buffer.from(bytes).toString("hex")).toBe(
      "ffffffffffff" + "020000000001" + "88a2" + "10" + "00" + "ffff" + "ff" + "01" + "80000001",
    );
  });

  test("a reply goes back to the sender, from us, with nothing of the request's flags", () => {
    fc.assert(
      fc.property(headers, macs, (header, own) => {
        const bytes = new Uint8Array(AOE_HEADER_BYTES);
        const mac = new Uint8Array(6);
        writeMac(mac, 0, own);
        writeHeader(bytes, 0, header);
        writeReplyHeader(bytes, 0, mac, 7, 3, AoeError.badArgument);
        expect(destinationMac(bytes, 0)).toBe(header.sourceMac);
        expect(sourceMac(bytes, 0)).toBe(own);
        expect(flags(bytes, 0)).toBe(AoeFlag.response | AoeFlag.error);
        expect(errorCode(bytes, 0)).toBe(2);
        expect([shelf(bytes, 0), slot(bytes, 0)]).toEqual([7, 3]);
        expect([command(bytes, 0), tag(bytes, 0)]).toEqual([header.command, header.tag]);
        writeReplyHeader(bytes, 0, mac, 7, 3, 0);
        expect([flags(bytes, 0), errorCode(bytes, 0)]).toEqual([AoeFlag.response, 0]);
      }),
    );
  });

  test("a sender is one station", () => {
    const from = (mac: number): boolean => {
      const bytes = new Uint8Array(AOE_HEADER_BYTES);
      writeMac(bytes, 6, mac);
      return hasValidSource(bytes, 0);
    };
    expect(from(0x020000000001)).toBe(true);
    expect(from(0)).toBe(false);
    expect(from(0xffffffffffff)).toBe(false);
    expect(from(0x01005e000001)).toBe(false);
  });

  test("a frame is for us when it has our address or broadcast, not another group", () => {
    const own = Uint8Array.of(2, 0, 0, 0, 0, 9);
    const to = (mac: number): boolean => {
      const bytes = new Uint8Array(AOE_HEADER_BYTES);
      writeMac(bytes, 0, mac);
      return isAddressedTo(bytes, 0, own);
    };
    expect(to(readMac(own, 0))).toBe(true);
    expect(to(0xffffffffffff)).toBe(true);
    expect(to(0xffffffffff00)).toBe(false);
    expect(to(0x020000000008)).toBe(false);
    expect(to(0x01005e000001)).toBe(false);
  });
});
