import { workerData } from "node:worker_threads";
import { FrameArena } from "../arena/frame-arena.ts";
import { openPacketPort } from "./packet-port.ts";

/** A thread that answers each frame with the same one; puts its address into shared memory. */
const shared = workerData as { interfaceName: string; etherType: number; mac: Uint8Array };
const { interfaceName, etherType } = shared;
const arena = new FrameArena(64);
const port = openPacketPort({ interfaceName, etherType, arena, ring: true });

port.onReadable = () => {
  const count = port.receive(16);
  for (let index = 0; index < count; index++) {
    const frame = port.received.frames[index];
    const offset = arena.frameOffset(frame);
    arena.bytes.copyWithin(offset, offset + 6, offset + 12);
    arena.bytes.set(port.link.mac, offset + 6);
    port.send(frame, port.received.lengths[index]);
  }
  port.transmit();
};
shared.mac.set(port.link.mac);
