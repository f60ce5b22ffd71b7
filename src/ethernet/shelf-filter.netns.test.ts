import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AOE_ETHER_TYPE, shelf, slot, writeHeader } from "../aoe/header.wire.ts";
import { FrameArena } from "../arena/frame-arena.ts";
import { ip, isIsolated, makePair } from "./namespace.testing.ts";
import { openPacketPort, type PacketPort } from "./packet-port.ts";
import { shelfFilter } from "./shelf-filter.ts";
import { WireTester } from "./wire.testing.ts";

const BROADCAST = 0xffffffffffff;

describe.runIf(isIsolated)("the socket filter of the shelves served", () => {
  let names: [string, string];
  let open: WireTester[];
  beforeEach(() => {
    names = makePair();
    open = [];
  });
  afterEach(async () => {
    for (const { port } of open) await port.close();
    ip(`link delete ${names[0]}`);
  });

  function station(name: string, filter?: Uint8Array): WireTester {
    const arena = new FrameArena(4096);
    const etherType = AOE_ETHER_TYPE;
    const options = { interfaceName: name, etherType, arena, ...(filter && { filter }) };
    const port: PacketPort = openPacketPort(options);
    const tester = new WireTester(port, arena);
    open.push(tester);
    return tester;
  }

  function request(shelfAddress: number, slotAddress: number): Uint8Array {
    const bytes = new Uint8Array(60);
    writeHeader(bytes, 0, {
      destinationMac: BROADCAST,
      sourceMac: 0x020000000001,
      flags: 0,
      shelf: shelfAddress,
      slot: slotAddress,
      command: 1,
      tag: 0,
    });
    return bytes;
  }

  test("nothing of a sender that is blocked passes, and everything of the others", async () => {
    const server = station(names[0], shelfFilter([{ shelf: 1, slot: 0 }], 0x020000000001));
    const client = station(names[1]);
    const from = (...mac: number[]) => {
      const bytes = request(1, 0);
      bytes.set(mac, 6);
      return bytes;
    };
    // Alike but for the last octet, and but for the first.
    const others = [from(2, 0, 0, 0, 0, 2), from(4, 0, 0, 0, 0, 1)];
    client.send(request(1, 0), request(0xffff, 0xff), ...others);
    const frames = await server.receiveCount(2);
    expect(frames.map((frame) => frame[6] * 256 + frame[11])).toEqual([0x0202, 0x0401]);
  });

  async function addressesThatPass(
    served: { shelf: number; slot: number }[],
    asked: [number, number][],
  ): Promise<string[]> {
    const server = station(names[0], shelfFilter(served));
    const client = station(names[1]);
    // The last one always passes: when it has come, all before it have.
    client.send(...asked.map(([s, l]) => request(s, l)), request(0xffff, 0xff));
    const seen: string[] = [];
    while (seen.at(-1) !== "65535.255") {
      for (const frame of await server.receiveCount(1)) {
        seen.push(`${shelf(frame, 0)}.${slot(frame, 0)}`);
      }
    }
    return seen.slice(0, -1);
  }

  test("passes the addresses served and wildcards, nothing else", async () => {
    const served = [
      { shelf: 1, slot: 0 },
      { shelf: 513, slot: 254 },
    ];
    const asked: [number, number][] = [
      [1, 0],
      [1, 1],
      [2, 0],
      [513, 254],
      [513, 0],
      [0xffff, 7],
      [9, 0xff],
      [0x0101, 0],
    ];
    expect(await addressesThatPass(served, asked)).toEqual(["1.0", "513.254", "65535.7", "9.255"]);
  });

  test("reaches the last of many targets, and gives up filtering when there are too many", async () => {
    const many = Array.from({ length: 1500 }, (_, index) => ({ shelf: index + 1, slot: 0 }));
    const asked: [number, number][] = [
      [1, 0],
      [1500, 0],
      [1501, 0],
    ];
    expect(await addressesThatPass(many, asked)).toEqual(["1.0", "1500.0"]);
    await open[0].port.close();
    const tooMany = [...many, { shelf: 1501, slot: 0 }];
    expect(await addressesThatPass(tooMany, asked)).toEqual(["1.0", "1500.0", "1501.0"]);
  });
});
