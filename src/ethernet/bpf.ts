import { endianness } from "node:os";

/**
 * A small assembler for classic BPF socket filters (linux/filter.h). A program is a list of
 * instructions and labels; jumps name labels, which become the kernel's forward distances.
 *
 * ```
 *   instruction | code 2 | when true 1 | when false 1 | operand 4 |     struct sock_filter
 * ```
 */
export interface BpfInstruction {
  readonly code: number;
  readonly operand: number;
  /** Labels; undefined continues with the next instruction. */
  readonly whenTrue?: string | undefined;
  readonly whenFalse?: string | undefined;
  /** The label of an unconditional jump, whose distance is its operand. */
  readonly target?: string;
}

export interface BpfLabel {
  readonly label: string;
}

export type BpfStep = BpfInstruction | BpfLabel;

const Code = {
  loadWord: 0x20,
  loadHalf: 0x28,
  loadByte: 0x30,
  and: 0x54,
  jump: 0x05,
  jumpIfEqual: 0x15,
  jumpIfGreater: 0x25,
  jumpIfAtLeast: 0x35,
  jumpIfSet: 0x45,
  return: 0x06,
} as const;

/** Facts about a frame that are not in its octets: "offsets" from SKF_AD_OFF (−4096). */
export const FrameFact = {
  packetType: -4096 + 4,
  interfaceIndex: -4096 + 8,
  vlanTagPresent: -4096 + 48,
} as const;

/** What FrameFact.packetType gives (linux/if_packet.h). */
export const PacketType = {
  host: 0,
  broadcast: 1,
  multicast: 2,
  otherHost: 3,
  outgoing: 4,
} as const;

/** The kernel's BPF_MAXINSNS. */
export const MAXIMUM_INSTRUCTIONS = 4096;

const INSTRUCTION_BYTES = 8;
const WHOLE_FRAME = 0xffffffff;
const littleEndian = endianness() === "LE";

/** Loads big-endian octets of the frame, or a FrameFact. A frame too short for it is dropped. */
export const loadByte = (offset: number): BpfInstruction => plain(Code.loadByte, offset);
export const loadHalf = (offset: number): BpfInstruction => plain(Code.loadHalf, offset);
export const loadWord = (offset: number): BpfInstruction => plain(Code.loadWord, offset);

/** Keeps the bits of the mask in what was loaded. */
export const and = (mask: number): BpfInstruction => plain(Code.and, mask);

export const accept = (): BpfInstruction => plain(Code.return, WHOLE_FRAME);
export const drop = (): BpfInstruction => plain(Code.return, 0);

export const label = (name: string): BpfLabel => ({ label: name });

/** Goes to the label, however far. A conditional jump reaches 255 instructions. */
export const jump = (target: string): BpfInstruction => ({ code: Code.jump, operand: 0, target });

export const jumpIfEqual = (value: number, whenTrue?: string, whenFalse?: string) =>
  conditional(Code.jumpIfEqual, value, whenTrue, whenFalse);
export const jumpIfGreater = (value: number, whenTrue?: string, whenFalse?: string) =>
  conditional(Code.jumpIfGreater, value, whenTrue, whenFalse);
export const jumpIfAtLeast = (value: number, whenTrue?: string, whenFalse?: string) =>
  conditional(Code.jumpIfAtLeast, value, whenTrue, whenFalse);
export const jumpIfSet = (mask: number, whenTrue?: string, whenFalse?: string) =>
  conditional(Code.jumpIfSet, mask, whenTrue, whenFalse);

function plain(code: number, operand: number): BpfInstruction {
  return { code, operand };
}

function conditional(
  code: number,
  operand: number,
  whenTrue: string | undefined,
  whenFalse: string | undefined,
): BpfInstruction {
  return { code, operand, whenTrue, whenFalse };
}

function isLabel(step: BpfStep): step is BpfLabel {
  return "label" in step;
}

/**
 * The program as the kernel takes it (struct sock_filter[]).
 * @throws Error for a label that is missing, used twice, behind the jump or too far away, and for a
 *   program that is too long or does not end in accept or drop
 */
export function assemble(steps: readonly BpfStep[]): Uint8Array {
  const positions = labelPositions(steps);
  const instructions = steps.filter((step): step is BpfInstruction => !isLabel(step));
  if (instructions.length > MAXIMUM_INSTRUCTIONS) {
    throw new Error(`a filter of ${instructions.length} instructions is too long`);
  }
  if (instructions.at(-1)?.code !== Code.return) throw new Error("a filter must end in a return");

  const program = new Uint8Array(instructions.length * INSTRUCTION_BYTES);
  const view = new DataView(program.buffer);
  const distance = (from: number, name: string | undefined, limit: number): number => {
    if (name === undefined) return 0;
    const to = positions.get(name);
    if (to === undefined) throw new Error(`label '${name}' is missing`);
    const skipped = to - from - 1;
    if (skipped < 0 || skipped > limit || to >= instructions.length) {
      throw new Error(`label '${name}' is out of reach of instruction ${from}`);
    }
    return skipped;
  };
  instructions.forEach((instruction, index) => {
    const at = index * INSTRUCTION_BYTES;
    const { code, operand, whenTrue, whenFalse, target } = instruction;
    view.setUint16(at, code, littleEndian);
    view.setUint8(at + 2, distance(index, whenTrue, 255));
    view.setUint8(at + 3, distance(index, whenFalse, 255));
    const value = target === undefined ? operand : distance(index, target, MAXIMUM_INSTRUCTIONS);
    view.setUint32(at + 4, value >>> 0, littleEndian);
  });
  return program;
}

function labelPositions(steps: readonly BpfStep[]): Map<string, number> {
  const positions = new Map<string, number>();
  let position = 0;
  for (const step of steps) {
    if (!isLabel(step)) {
      position++;
    } else if (positions.has(step.label)) {
      throw new Error(`label '${step.label}' is used twice`);
    } else {
      positions.set(step.label, position);
    }
  }
  return positions;
}
