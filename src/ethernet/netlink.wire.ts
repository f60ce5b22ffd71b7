import { endianness } from "node:os";

/**
 * Route netlink messages about interfaces, in the kernel's own byte order (linux/netlink.h,
 * linux/rtnetlink.h, linux/if_link.h):
 *
 * ```
 *   message   | length 4 | type 2 | flags 2 | sequence 4 | port 4 | body …      padded to 4
 *   body      | family 1 | – 1 | type 2 | index 4 | flags 4 | change 4 | attributes …
 *   attribute | length 2 | type 2 | value …                                     padded to 4
 * ```
 */
const MESSAGE_LENGTH = 0;
const MESSAGE_TYPE = 4;
const MESSAGE_FLAGS = 6;
const MESSAGE_SEQUENCE = 8;
const MESSAGE_HEADER_BYTES = 16;
const LINK_FAMILY = 16;
const LINK_TYPE = 18;
const LINK_INDEX = 20;
const LINK_FLAGS = 24;
const LINK_CHANGE = 28;
const LINK_BYTES = 32;
const ATTRIBUTE_HEADER_BYTES = 4;

export const MessageType = {
  error: 2,
  done: 3,
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
} as const;

export const RequestFlag = { request: 0x001, acknowledge: 0x004, dump: 0x300 } as const;

/** The multicast group that announces changes of interfaces (RTNLGRP_LINK), as a mask. */
export const LINK_GROUP_MASK = 1;

export const InterfaceFlag = { up: 0x1, loopback: 0x8, running: 0x40 } as const;

export const LinkAttribute = {
  address: 1,
  name: 3,
  mtu: 4,
  master: 10,
  /** What a bridge tells of its port. */
  protocolInfo: 12,
  transmitQueueLength: 13,
  info: 18,
  statistics: 23,
} as const;

const LinkInfoAttribute = { kind: 1, slaveKind: 4, slaveData: 5 } as const;

/** IFLA_BRPORT_STATE, and its value for a port that passes frames (linux/if_bridge.h). */
const BRIDGE_PORT_STATE = 1;
const STATE_FORWARDING = 3;

/** In struct rtnl_link_stats64: frames that the interface dropped instead of sending. */
const STATISTICS_TRANSMIT_DROPPED = 56;

/** The two top bits of an attribute's type are marks of their own (NLA_F_NESTED, …). */
const ATTRIBUTE_TYPE_MASK = 0x3fff;

/** ifi_family: a message about the interface itself, or one of its bridge about it as a port. */
const FAMILY_UNSPECIFIED = 0;
const FAMILY_BRIDGE = 7;

const littleEndian = endianness() === "LE";

/** What one message says of an interface; what it leaves out is undefined. */
export interface LinkMessage {
  type: number;
  /** A bridge speaks, of the port that the interface is: all but `isForwarding` is to be ignored. */
  isFromBridge: boolean;
  index: number;
  flags: number;
  name?: string;
  mac?: Uint8Array;
  mtuBytes?: number;
  masterIndex?: number;
  kind?: string;
  slaveKind?: string;
  transmitDroppedFrames?: number;
  /** Whether the bridge passes frames to and from it; undefined for what is no port of one. */
  isForwarding?: boolean;
}

export interface ParsedMessages {
  links: LinkMessage[];
  /** The end of an answer: 0 for success, else a negative errno. Undefined: more follows. */
  finished: number | undefined;
}

/** Reads the messages of one datagram. A message that makes no sense ends the reading. */
export function parseMessages(datagram: Uint8Array): ParsedMessages {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const parsed: ParsedMessages = { links: [], finished: undefined };
  let offset = 0;
  while (offset + MESSAGE_HEADER_BYTES <= datagram.length) {
    const length = view.getUint32(offset + MESSAGE_LENGTH, littleEndian);
    const end = offset + length;
    if (length < MESSAGE_HEADER_BYTES || end > datagram.length) break;
    const type = view.getUint16(offset + MESSAGE_TYPE, littleEndian);
    if (type === MessageType.done) {
      parsed.finished = 0;
    } else if (type === MessageType.error && length >= MESSAGE_HEADER_BYTES + 4) {
      parsed.finished = view.getInt32(offset + MESSAGE_HEADER_BYTES, littleEndian);
    } else if (type === MessageType.newLink || type === MessageType.deleteLink) {
      const link = parseLink(datagram.subarray(offset, end), type);
      if (link !== undefined) parsed.links.push(link);
    }
    offset += padded(length);
  }
  return parsed;
}

function parseLink(message: Uint8Array, type: number): LinkMessage | undefined {
  if (message.length < LINK_BYTES) return undefined;
  const family = message[LINK_FAMILY];
  if (family !== FAMILY_UNSPECIFIED && family !== FAMILY_BRIDGE) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const link: LinkMessage = {
    type,
    isFromBridge: family === FAMILY_BRIDGE,
    index: view.getInt32(LINK_INDEX, littleEndian),
    flags: view.getUint32(LINK_FLAGS, littleEndian),
  };
  forEachAttribute(message, LINK_BYTES, (attribute, value) => {
    if (attribute === LinkAttribute.name) link.name = text(value);
    else if (attribute === LinkAttribute.address && value.length === 6) link.mac = value.slice();
    else if (attribute === LinkAttribute.mtu) link.mtuBytes = word(value);
    else if (attribute === LinkAttribute.master) link.masterIndex = word(value);
    else if (attribute === LinkAttribute.info) parseInfo(value, link);
    else if (attribute === LinkAttribute.protocolInfo) parseBridgePort(value, link);
    else if (attribute === LinkAttribute.statistics) {
      link.transmitDroppedFrames = doubleWord(value, STATISTICS_TRANSMIT_DROPPED);
    }
  });
  return link;
}

function parseInfo(info: Uint8Array, link: LinkMessage): void {
  forEachAttribute(info, 0, (attribute, value) => {
    if (attribute === LinkInfoAttribute.kind) link.kind = text(value);
    else if (attribute === LinkInfoAttribute.slaveKind) link.slaveKind = text(value);
    else if (attribute === LinkInfoAttribute.slaveData && link.slaveKind === "bridge") {
      parseBridgePort(value, link);
    }
  });
}

function parseBridgePort(info: Uint8Array, link: LinkMessage): void {
  forEachAttribute(info, 0, (attribute, value) => {
    if (attribute === BRIDGE_PORT_STATE) link.isForwarding = value[0] === STATE_FORWARDING;
  });
}

function forEachAttribute(
  bytes: Uint8Array,
  start: number,
  visit: (type: number, value: Uint8Array) => void,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let offset = start;
  while (offset + ATTRIBUTE_HEADER_BYTES <= bytes.length) {
    const length = view.getUint16(offset, littleEndian);
    if (length < ATTRIBUTE_HEADER_BYTES || offset + length > bytes.length) return;
    const type = view.getUint16(offset + 2, littleEndian) & ATTRIBUTE_TYPE_MASK;
    visit(type, bytes.subarray(offset + ATTRIBUTE_HEADER_BYTES, offset + length));
    offset += padded(length);
  }
}

/** An attribute of a request. */
export interface RequestAttribute {
  type: number;
  value: Uint8Array;
}

export function wordAttribute(type: number, value: number): RequestAttribute {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, littleEndian);
  return { type, value: bytes };
}

export interface LinkRequest {
  type: number;
  /** RequestFlag values. */
  flags: number;
  index: number;
  /** InterfaceFlag values that become set or clear; `change` says which of them count. */
  interfaceFlags?: number;
  change?: number;
  attributes?: RequestAttribute[];
}

/** Builds one request about an interface. */
export function buildLinkRequest(request: LinkRequest): Uint8Array {
  const attributes = request.attributes ?? [];
  const length = attributes.reduce(
    (sum, { value }) => sum + padded(ATTRIBUTE_HEADER_BYTES + value.length),
    LINK_BYTES,
  );
  const message = new Uint8Array(length);
  const view = new DataView(message.buffer);
  view.setUint32(MESSAGE_LENGTH, length, littleEndian);
  view.setUint16(MESSAGE_TYPE, request.type, littleEndian);
  view.setUint16(MESSAGE_FLAGS, request.flags, littleEndian);
  view.setUint32(MESSAGE_SEQUENCE, 1, littleEndian);
  view.setUint16(LINK_TYPE, 0, littleEndian);
  view.setInt32(LINK_INDEX, request.index, littleEndian);
  view.setUint32(LINK_FLAGS, request.interfaceFlags ?? 0, littleEndian);
  view.setUint32(LINK_CHANGE, request.change ?? 0, littleEndian);
  let offset = LINK_BYTES;
  for (const { type, value } of attributes) {
    view.setUint16(offset, ATTRIBUTE_HEADER_BYTES + value.length, littleEndian);
    view.setUint16(offset + 2, type, littleEndian);
    message.set(value, offset + ATTRIBUTE_HEADER_BYTES);
    offset += padded(ATTRIBUTE_HEADER_BYTES + value.length);
  }
  return message;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

function word(value: Uint8Array): number {
  if (value.length < 4) return 0;
  return new DataView(value.buffer, value.byteOffset).getUint32(0, littleEndian);
}

function doubleWord(value: Uint8Array, offset: number): number {
  if (value.length < offset + 8) return 0;
  const view = new DataView(value.buffer, value.byteOffset);
  return Number(view.getBigUint64(offset, littleEndian));
}

function text(value: Uint8Array): string {
  const end = value.indexOf(0);
  return new TextDecoder().decode(end === -1 ? value : value.subarray(0, end));
}
