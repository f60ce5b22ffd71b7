/**
 * Answers batches of 16 frames on a raw socket, for strace: `node batches.ts SERVER-IF CLIENT-IF
 * FILE read|write ROUNDS`. Before each round it looks for a file /aoed-round-N, which is seen in the
 * trace. Both ends are in this process: of the calls, one sendmmsg is the client's, and its recvmmsg.
 */
import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { FrameArena } from "../../src/arena/frame-arena.ts";
import { openPacketPort } from "../../src/ethernet/packet-port.ts";
import { ataRequest, openDataPath } from "./data-path.ts";
import { BATCH_FRAMES } from "./loop-port.ts";

const [serverInterface, clientInterface, path, kind, rounds] = process.argv.slice(2);
const etherType = 0x88a2;
let mac: Uint8Array = new Uint8Array(6);
await openDataPath(path, (arena) => {
  const port = openPacketPort({ interfaceName: serverInterface, etherType, arena, ring: true });
  mac = port.link.mac;
  return port;
});

const arena = new FrameArena(4 * BATCH_FRAMES);
const client = openPacketPort({ interfaceName: clientInterface, etherType, arena });
let replies = 0;
client.onReadable = () => {
  const count = client.receive(BATCH_FRAMES);
  for (let index = 0; index < count; index++) client.release(client.received.frames[index]);
  replies += count;
};
const request = ataRequest(kind === "write");
request.set(mac);
request.set(client.link.mac, 6);
for (let round = 0; round < Number(rounds); round++) {
  existsSync(`/aoed-round-${round}`);
  replies = 0;
  for (let index = 0; index < BATCH_FRAMES; index++) {
    const frame = arena.allocate();
    arena.bytes.set(request, arena.frameOffset(frame));
    arena.bytes[arena.frameOffset(frame) + 28] = index << 3;
    client.send(frame, request.length);
  }
  client.transmit();
  for (;;) {
    await delay(1);
    if (replies === BATCH_FRAMES) break;
  }
}
existsSync(`/aoed-round-${rounds}`);
process.exit(0);
