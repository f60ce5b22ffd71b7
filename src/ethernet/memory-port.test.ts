import { FrameArena } from "../arena/frame-arena.ts";
import { ethernetPortCompliance } from "./ethernet-port.compliance.ts";
import { memorySegment } from "./memory-segment.ts";
import { testMac, WireTester } from "./wire.testing.ts";

ethernetPortCompliance({
  name: "a memory port",
  filters: false,
  connect(arena, mtuBytes) {
    const segment = memorySegment();
    const port = segment.attach("memory0", testMac(1), mtuBytes, arena);
    const peerArena = new FrameArena(4096);
    const peer = segment.attach("memory1", testMac(2), mtuBytes, peerArena);
    return Promise.resolve({
      port,
      arena,
      peer: new WireTester(peer, peerArena),
      isConnected: () => true,
      setMtu: (mtu) => port.setLink({ mtuBytes: mtu }),
      setUp: (up) => port.setLink({ up }),
      setMac: (mac) => port.setLink({ mac }),
      async close() {
        await port.close();
        await peer.close();
      },
    });
  },
});
