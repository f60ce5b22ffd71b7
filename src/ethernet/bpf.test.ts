import { describe, expect, test } from "vitest";
import {
  accept,
  assemble,
  type BpfStep,
  drop,
  FrameFact,
  jump,
  jumpIfAtLeast,
  jumpIfEqual,
  jumpIfGreater,
  jumpIfSet,
  and,
  label,
  loadByte,
  loadHalf,
  loadWord,
  MAXIMUM_INSTRUCTIONS,
} from "./bpf.ts";
import { closedFilter, packetFilter } from "./packet-filter.ts";

/** "code true false operand" of each instruction, as `tcpdump -ddd` prints a program. */
function listing(program: Uint8Array): string[] {
  const view = new DataView(program.buffer);
  return Array.from({ length: program.length / 8 }, (_, index) => {
    const at = index * 8;
    const [code, operand] = [view.getUint16(at, true), view.getUint32(at + 4, true)];
    return `${code} ${view.getUint8(at + 2)} ${view.getUint8(at + 3)} ${operand}`;
  });
}

const filler = (count: number): BpfStep[] => Array.from({ length: count }, () => loadByte(0));

const far = (jumps: BpfStep, distance: number): BpfStep[] => [
  jumps,
  ...filler(distance),
  label("far"),
  accept(),
];

describe("the BPF assembler", () => {
  test("gives what tcpdump gives for the same program", () => {
    // tcpdump -y EN10MB -ddd 'ether proto 0x88a2 and ether[16:2] = 7'
    const program = assemble([
      loadHalf(12),
      jumpIfEqual(0x88a2, undefined, "no"),
      loadHalf(16),
      jumpIfEqual(7, undefined, "no"),
      accept(),
      label("no"),
      drop(),
    ]);
    expect(listing(program)).toEqual([
      "40 0 0 12",
      "21 0 3 34978",
      "40 0 0 16",
      "21 0 1 7",
      "6 0 0 4294967295",
      "6 0 0 0",
    ]);
  });

  test("encodes every instruction", () => {
    const program = assemble([
      loadByte(1),
      loadWord(FrameFact.packetType),
      and(0xffffff00),
      jumpIfGreater(1, "end", undefined),
      jumpIfAtLeast(2, undefined, "end"),
      jumpIfSet(4, "end", "end"),
      jump("end"),
      drop(),
      label("end"),
      accept(),
    ]);
    expect(listing(program)).toEqual([
      "48 0 0 1",
      "32 0 0 4294963204",
      "84 0 0 4294967040",
      "37 4 0 1",
      "53 0 3 2",
      "69 2 2 4",
      "5 0 0 1",
      "6 0 0 0",
      "6 0 0 4294967295",
    ]);
  });

  test("a conditional jump reaches 255 instructions, an unconditional one any", () => {
    expect(listing(assemble(far(jumpIfEqual(1, "far"), 255)))[0]).toBe("21 255 0 1");
    expect(() => assemble(far(jumpIfEqual(1, "far"), 256))).toThrow("out of reach");
    expect(listing(assemble(far(jump("far"), 1000)))[0]).toBe("5 0 0 1000");
  });

  test("refuses labels that cannot be, programs that are too long or run off their end", () => {
    expect(() => assemble([jump("nowhere"), drop()])).toThrow("'nowhere' is missing");
    expect(() => assemble([label("a"), loadByte(0), jump("a"), drop()])).toThrow("out of reach");
    expect(() => assemble([label("a"), drop(), label("a"), drop()])).toThrow("used twice");
    expect(() => assemble([loadByte(0)])).toThrow("must end in a return");
    expect(() => assemble([])).toThrow("must end in a return");
    expect(assemble([...filler(MAXIMUM_INSTRUCTIONS - 1), drop()])).toHaveLength(4096 * 8);
    expect(() => assemble([...filler(MAXIMUM_INSTRUCTIONS), drop()])).toThrow("too long");
  });
});

test("the filter of a port lets the caller's steps decide about what is for us", () => {
  expect(listing(closedFilter())).toEqual(["6 0 0 0"]);
  const plain = listing(packetFilter());
  const extended = listing(packetFilter([loadByte(14), jumpIfSet(8, "drop", "accept")]));
  expect(plain.slice(0, 7)).toEqual(extended.slice(0, 7));
  expect(extended.slice(-4)).toEqual(["48 0 0 14", "69 1 0 8", "6 0 0 4294967295", "6 0 0 0"]);
});
