import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  buildLinkRequest,
  InterfaceFlag,
  LinkAttribute,
  MessageType,
  parseMessages,
  RequestFlag,
  wordAttribute,
} from "./netlink.wire.ts";

const octets = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));

/** An announcement about an interface: the kernel's and ours have the same form. */
function announcement(index: number): Uint8Array {
  return buildLinkRequest({
    type: MessageType.newLink,
    flags: 0,
    index,
    interfaceFlags: InterfaceFlag.up | InterfaceFlag.running,
    attributes: [
      { type: LinkAttribute.name, value: octets("eth0\0") },
      { type: LinkAttribute.address, value: Uint8Array.of(2, 0, 0, 0, 0, 7) },
      wordAttribute(LinkAttribute.mtu, 9000),
      wordAttribute(LinkAttribute.master, 4),
      {
        type: LinkAttribute.info | 0x8000,
        value: Uint8Array.from([
          9,
          0,
          1,
          0,
          ...octets("veth\0"),
          0,
          0,
          0,
          11,
          0,
          4,
          0,
          ...octets("bridge\0"),
        ]),
      },
    ],
  });
}

const expected = {
  type: MessageType.newLink,
  isFromBridge: false,
  flags: InterfaceFlag.up | InterfaceFlag.running,
  name: "eth0",
  mac: Uint8Array.of(2, 0, 0, 0, 0, 7),
  mtuBytes: 9000,
  masterIndex: 4,
  kind: "veth",
  slaveKind: "bridge",
};

test("reads what is said of several interfaces in one datagram", () => {
  const datagram = Uint8Array.from([...announcement(3), ...announcement(5)]);
  expect(parseMessages(datagram)).toEqual({
    links: [
      { index: 3, ...expected },
      { index: 5, ...expected },
    ],
    finished: undefined,
  });
});

test("reads the end of an answer, and an error", () => {
  const done = new Uint8Array(20);
  new DataView(done.buffer).setUint32(0, 20, true);
  done[4] = MessageType.done;
  expect(parseMessages(done).finished).toBe(0);
  const refused = done.slice();
  refused[4] = MessageType.error;
  new DataView(refused.buffer).setInt32(16, -19, true);
  expect(parseMessages(refused).finished).toBe(-19);
});

test("tells apart what a bridge says of its port", () => {
  const message = buildLinkRequest({
    type: MessageType.newLink,
    flags: 0,
    index: 3,
    attributes: [
      { type: LinkAttribute.protocolInfo, value: Uint8Array.of(5, 0, 1, 0, 3, 0, 0, 0) },
    ],
  });
  message[16] = 7;
  expect(parseMessages(message).links).toEqual([
    { type: MessageType.newLink, isFromBridge: true, index: 3, flags: 0, isForwarding: true },
  ]);
  message[40] = 1;
  expect(parseMessages(message).links[0]?.isForwarding).toBe(false);
});

test("builds a request as the kernel reads it", () => {
  const request = buildLinkRequest({
    type: MessageType.newLink,
    flags: RequestFlag.request | RequestFlag.acknowledge,
    index: 2,
    interfaceFlags: InterfaceFlag.up,
    change: InterfaceFlag.up,
    attributes: [wordAttribute(LinkAttribute.mtu, 1500)],
  });
  expect(Buffer.from(request).toString("hex")).toBe(
    "28000000" +
      "1000" +
      "0500" +
      "01000000" +
      "00000000" + // header
      "00000000" +
      "02000000" +
      "01000000" +
      "01000000" + // interface 2, up
      "0800" +
      "0400" +
      "dc050000", // MTU 1500
  );
});

test("octets that make no sense never throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      parseMessages(bytes);
    }),
  );
  fc.assert(
    fc.property(fc.nat(200), fc.nat(255), fc.nat(200), (at, octet, length) => {
      const damaged = announcement(3);
      damaged[at % damaged.length] = octet;
      parseMessages(damaged.subarray(0, length));
    }),
  );
});
