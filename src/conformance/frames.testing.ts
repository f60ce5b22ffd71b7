/**
 * Builds AoE frames for the conformance suite, octet by octet from AoEr11 and on purpose without
 * the codec of src/aoe: a mistake there must not be mirrored by the test that looks for it.
 *
 * Every builder takes what a correct frame would not have, too: wrong versions, counts that promise
 * more than follows, flags that contradict the command.
 */

export type Mac = string;

export const BROADCAST: Mac = "ff:ff:ff:ff:ff:ff";
export const EVERY_SHELF = 0xffff;
export const EVERY_SLOT = 0xff;
export const AOE_ETHERTYPE = 0x88a2;

export const Command = { ata: 0, config: 1, macMask: 2, reserve: 3 } as const;
export const Flag = { response: 0x8, error: 0x4 } as const;
export const AoeError = {
  unrecognizedCommand: 1,
  badArgument: 2,
  deviceUnavailable: 3,
  configStringPresent: 4,
  unsupportedVersion: 5,
  targetReserved: 6,
} as const;

export const Ata = {
  read: 0x20,
  readExt: 0x24,
  write: 0x30,
  writeExt: 0x34,
  identify: 0xec,
  flush: 0xe7,
  flushExt: 0xea,
  checkPowerMode: 0xe5,
  smart: 0xb0,
  dataSetManagement: 0x06,
} as const;
export const AtaFlag = { extended: 0x40, device: 0x10, async: 0x02, write: 0x01 } as const;

export const ConfigCommand = { read: 0, test: 1, prefix: 2, set: 3, force: 4 } as const;
export const MaskCommand = { read: 0, edit: 1 } as const;
export const Directive = { none: 0, add: 1, delete: 2 } as const;
export const ReserveCommand = { read: 0, set: 1, force: 2 } as const;

/** What follows the 24 octets of the Ethernet and AoE headers. */
export interface Body {
  readonly command: number;
  readonly argument: Uint8Array;
}

export interface Header {
  readonly destination: Mac;
  readonly source: Mac;
  readonly shelf: number;
  readonly slot: number;
  readonly tag: number;
  readonly etherType?: number;
  readonly version?: number;
  readonly flags?: number;
  readonly error?: number;
}

export function macOctets(mac: Mac): Uint8Array {
  return Uint8Array.from(mac.split(":"), (octet) => Number.parseInt(octet, 16));
}

export function macText(octets: Uint8Array): Mac {
  return [...octets.subarray(0, 6)].map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}

export function hex(octets: Uint8Array): string {
  const shown = Buffer.from(octets.subarray(0, 64)).toString("hex");
  return octets.length > 64 ? `${shown}… (${octets.length} octets)` : shown;
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

export function filled(lengthBytes: number, octet: number): Uint8Array {
  return new Uint8Array(lengthBytes).fill(octet);
}

/** The whole frame, without padding: exactly the octets that the arguments say. */
export function frameOf(header: Header, body: Body): Uint8Array {
  const { version = 1, flags = 0, error = 0, etherType = AOE_ETHERTYPE } = header;
  const frame = new Uint8Array(24 + body.argument.length);
  const view = new DataView(frame.buffer);
  frame.set(macOctets(header.destination), 0);
  frame.set(macOctets(header.source), 6);
  view.setUint16(12, etherType);
  view.setUint8(14, (version << 4) | flags);
  view.setUint8(15, error);
  view.setUint16(16, header.shelf);
  view.setUint8(18, header.slot);
  view.setUint8(19, body.command);
  view.setUint32(20, header.tag);
  frame.set(body.argument, 24);
  return frame;
}

export interface AtaFields {
  readonly code: number;
  readonly lba?: number;
  readonly count?: number;
  readonly flags?: number;
  readonly feature?: number;
  /** The six LBA octets as they are, instead of `lba`. */
  readonly lbaOctets?: readonly number[];
  readonly data?: Uint8Array;
}

function lbaOctetsOf(lba: number): number[] {
  return Array.from({ length: 6 }, (_, index) => Math.floor(lba / 2 ** (8 * index)) % 256);
}

/** An ATA command with any register contents (AoEr11 §3.1). */
export function ata(fields: AtaFields): Body {
  const registers = new Uint8Array(12);
  registers[0] = fields.flags ?? 0;
  registers[1] = fields.feature ?? 0;
  registers[2] = fields.count ?? 0;
  registers[3] = fields.code;
  registers.set(fields.lbaOctets ?? lbaOctetsOf(fields.lba ?? 0), 4);
  return {
    command: Command.ata,
    argument: joined(registers, fields.data ?? new Uint8Array(0)),
  };
}

/** READ SECTORS EXT as the Linux driver sends it. */
export function read(lba: number, count: number): Body {
  return ata({ code: Ata.readExt, flags: AtaFlag.extended, lba, count });
}

/** WRITE SECTORS EXT as the Linux driver sends it; the count follows from the data. */
export function write(lba: number, data: Uint8Array): Body {
  const flags = AtaFlag.extended | AtaFlag.write;
  return ata({ code: Ata.writeExt, flags, lba, count: data.length / 512, data });
}

/** READ SECTORS with the device bits that the Linux driver sets in LBA28 mode. */
export function read28(lba: number, count: number): Body {
  const lbaOctets = lbaOctetsOf(lba);
  lbaOctets[3] = (lbaOctets[3] & 0x0f) | 0xe0;
  return ata({ code: Ata.read, lbaOctets, count });
}

export function identify(count = 1): Body {
  return ata({ code: Ata.identify, count, lbaOctets: [0, 0, 0, 0xa0, 0, 0] });
}

export function flush(code: number = Ata.flushExt): Body {
  return ata({ code });
}

export interface ConfigFields {
  readonly subcommand?: number;
  readonly text?: Uint8Array | string;
  /** The length that the frame claims, when it is not that of `text`. */
  readonly claimedLength?: number;
  /** The high nibble of the AoE/CCmd octet. */
  readonly versionNibble?: number;
  readonly bufferCount?: number;
  readonly firmware?: number;
  readonly sectorCount?: number;
}

export function textOctets(text: Uint8Array | string): Uint8Array {
  return typeof text === "string" ? new TextEncoder().encode(text) : text;
}

/** Config/Query (AoEr11 §3.2). Without fields: the query that every initiator sends. */
export function config(fields: ConfigFields = {}): Body {
  const text = textOctets(fields.text ?? "");
  const fixed = new Uint8Array(8);
  const view = new DataView(fixed.buffer);
  view.setUint16(0, fields.bufferCount ?? 0);
  view.setUint16(2, fields.firmware ?? 0);
  view.setUint8(4, fields.sectorCount ?? 0);
  view.setUint8(5, ((fields.versionNibble ?? 0) << 4) | (fields.subcommand ?? 0));
  view.setUint16(6, fields.claimedLength ?? text.length);
  return { command: Command.config, argument: joined(fixed, text) };
}

export interface MaskDirective {
  readonly directive: number;
  readonly mac: Mac;
}

export interface MaskFields {
  readonly subcommand?: number;
  readonly directives?: readonly MaskDirective[];
  /** The count that the frame claims, when it is not the number of `directives`. */
  readonly claimedCount?: number;
}

/** MAC mask list (AoEr11 §3.3). */
export function mask(fields: MaskFields = {}): Body {
  const directives = fields.directives ?? [];
  const fixed = Uint8Array.of(
    0,
    fields.subcommand ?? MaskCommand.read,
    0,
    fields.claimedCount ?? directives.length,
  );
  const entries = directives.map(({ directive, mac }) =>
    joined(Uint8Array.of(0, directive), macOctets(mac)),
  );
  return { command: Command.macMask, argument: joined(fixed, ...entries) };
}

export function maskEdit(...directives: readonly [directive: number, mac: Mac][]): Body {
  return mask({
    subcommand: MaskCommand.edit,
    directives: directives.map(([directive, mac]) => ({ directive, mac })),
  });
}

/** Reserve/Release (AoEr11 §3.4). */
export function reserve(
  subcommand: number,
  macs: readonly Mac[] = [],
  claimedCount = macs.length,
): Body {
  const fixed = Uint8Array.of(subcommand, claimedCount);
  return { command: Command.reserve, argument: joined(fixed, ...macs.map(macOctets)) };
}

/** The same command followed by octets that it does not need. */
export function withTrailing(body: Body, trailing: Uint8Array): Body {
  return { command: body.command, argument: joined(body.argument, trailing) };
}

/** The same command cut off, so that the whole frame has `frameLengthBytes` octets. */
export function truncatedTo(frame: Uint8Array, frameLengthBytes: number): Uint8Array {
  return frame.slice(0, frameLengthBytes);
}

/** What a fresh disk of the suite holds: every sector says which one it is. */
export function diskSector(lba: number): Uint8Array {
  return sectorOf(lba, 0);
}

/** A sector that tells its LBA and which of the test's writes it came from. */
export function sectorOf(lba: number, generation: number): Uint8Array {
  const sector = new Uint8Array(512);
  const view = new DataView(sector.buffer);
  for (let offset = 0; offset < 512; offset += 16) {
    view.setUint32(offset, Math.floor(lba / 2 ** 32));
    view.setUint32(offset + 4, lba >>> 0);
    view.setUint32(offset + 8, generation);
    view.setUint32(offset + 12, 0xd15c0000 + offset);
  }
  return sector;
}

export function diskSectors(lba: number, count: number, generation = 0): Uint8Array {
  const sectors = Array.from({ length: count }, (_, index) => sectorOf(lba + index, generation));
  return joined(...sectors);
}
