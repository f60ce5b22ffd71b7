import { FrameArena } from "../arena/frame-arena.ts";
import { openXdpPort, XdpPort } from "./xdp-port.ts";

/** A process or thread that serves an interface until it is ended; first it says how. */
let reason = "";
const log = {
  info: () => {},
  warn: (details: { reason: string }) => {
    ({ reason } = details);
  },
} as never;
const interfaceName = process.argv[2] ?? "";
const arena = new FrameArena(64);
const port = openXdpPort({ interfaceName, etherType: 0x88a2, arena, log });
port.onReadable = () => {
  const count = port.receive(16);
  for (let index = 0; index < count; index++) port.release(port.received.frames[index]);
};
process.stdout.write(`${port instanceof XdpPort ? port.mode : reason}\n`);
