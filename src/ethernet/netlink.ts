import { systemErrorCode } from "../errors.ts";
import { shim } from "../native/shim.ts";
import { errnoName } from "../system/libc.ts";
import {
  buildLinkRequest,
  InterfaceFlag,
  LinkAttribute,
  type LinkMessage,
  MessageType,
  parseMessages,
  type RequestAttribute,
  RequestFlag,
  wordAttribute,
} from "./netlink.wire.ts";

/** Datagrams of a dump are at most 32 KiB (the kernel's NLMSG_GOODSIZE and larger requests). */
const BUFFER_BYTES = 65536;

/** Every interface of this network namespace. Takes microseconds: the kernel answers at once. */
export function listLinks(): LinkMessage[] {
  return exchange({
    type: MessageType.getLink,
    flags: RequestFlag.request | RequestFlag.dump,
    index: 0,
  });
}

/** One interface; undefined when there is none of that index. */
export function readLink(index: number): LinkMessage | undefined {
  try {
    return exchange({
      type: MessageType.getLink,
      flags: RequestFlag.request | RequestFlag.acknowledge,
      index,
    })[0];
  } catch (error) {
    if (systemErrorCode(error) === "ENODEV") return undefined;
    throw error;
  }
}

/** What `changeLink` changes. */
export interface LinkChange {
  mtuBytes?: number;
  mac?: Uint8Array;
  /** The bridge to join; 0 leaves it. */
  masterIndex?: number;
  transmitQueueFrames?: number;
  up?: boolean;
}

/** @throws Error with the kernel's reason ("EPERM", "ENODEV", "EINVAL", …) as `code` */
export function changeLink(index: number, change: LinkChange): void {
  const attributes: RequestAttribute[] = [];
  if (change.mtuBytes !== undefined) {
    attributes.push(wordAttribute(LinkAttribute.mtu, change.mtuBytes));
  }
  if (change.mac !== undefined) attributes.push({ type: LinkAttribute.address, value: change.mac });
  if (change.masterIndex !== undefined) {
    attributes.push(wordAttribute(LinkAttribute.master, change.masterIndex));
  }
  if (change.transmitQueueFrames !== undefined) {
    const { transmitQueueLength } = LinkAttribute;
    attributes.push(wordAttribute(transmitQueueLength, change.transmitQueueFrames));
  }
  exchange({
    type: MessageType.newLink,
    flags: RequestFlag.request | RequestFlag.acknowledge,
    index,
    interfaceFlags: change.up === true ? InterfaceFlag.up : 0,
    change: change.up === undefined ? 0 : InterfaceFlag.up,
    attributes,
  });
}

function exchange(request: Parameters<typeof buildLinkRequest>[0]): LinkMessage[] {
  const descriptor = succeeded(shim.netlinkOpen(0));
  try {
    succeeded(shim.netlinkSend(descriptor, buildLinkRequest(request)));
    const buffer = new Uint8Array(BUFFER_BYTES);
    const links: LinkMessage[] = [];
    for (;;) {
      const length = succeeded(shim.netlinkReceive(descriptor, buffer));
      const parsed = parseMessages(buffer.subarray(0, length));
      links.push(...parsed.links);
      if (parsed.finished !== undefined) {
        succeeded(parsed.finished);
        return links;
      }
    }
  } finally {
    shim.closeDescriptor(descriptor);
  }
}

function succeeded(result: number): number {
  if (result >= 0) return result;
  const code = errnoName(result);
  throw Object.assign(new Error(`route netlink: ${code}`), { code });
}
