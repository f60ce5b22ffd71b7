import { Responder } from "../../src/aoe/responder.ts";
import { FrameArena } from "../../src/arena/frame-arena.ts";
import { AtaEngine } from "../../src/ata/ata-engine.ts";
import { FrameService } from "../../src/ethernet/frame-service.ts";
import type { EthernetPort } from "../../src/ethernet/ethernet-port.ts";
import { openFileStorage } from "../../src/storage/file-storage.ts";
import { openMemoryStorage } from "../../src/storage/memory-storage.ts";
import { TargetManager } from "../../src/target/target-manager.ts";
import { volatileState } from "../../src/target/target.ts";
import { BATCH_FRAMES, LoopPort } from "./loop-port.ts";

const ARENA_FRAMES = 256;
const DISK_BYTES = 1024 * 1024;
const SECTORS = 8;

/** Fewer than the FrameService takes in one turn: else it would begin to queue them by sender. */
const TURN_FRAMES = 7 * BATCH_FRAMES;

/**
 * The server from the port to the disk, without what is around it.
 * @param path of a file on a tmpfs, which is made; undefined: a disk in the process's memory
 */
export async function openDataPath(
  path: string | undefined,
  portOf: (arena: FrameArena) => EthernetPort,
): Promise<void> {
  const arena = new FrameArena(ARENA_FRAMES);
  const storage =
    path === undefined
      ? openMemoryStorage({ sizeBytes: DISK_BYTES }, arena)
      : await openFileStorage({ path, sizeBytes: DISK_BYTES, durability: "writeback" }, arena);
  const targets = new TargetManager();
  targets.add({ shelf: 1, slot: 0, storage, allow: [], ...volatileState });
  const identity = { bufferCount: 64, firmwareVersion: 1 };
  const responder = new Responder({ arena, targets, engine: new AtaEngine("test"), identity });
  const ports = [portOf(arena)];
  // The clock stands still: a busy machine must not make frames stale.
  const clock = (): number => 0;
  new FrameService({ arena, targets, responder, ports, bufferCount: 64, clock }).start();
}

/** A request of 8 sectors for e1.0, as the Linux driver sends it: READ or WRITE SECTORS EXT. */
export function ataRequest(writes: boolean): Uint8Array {
  const frame = new Uint8Array(writes ? 36 + SECTORS * 512 : 60);
  frame.set([2, 2, 2, 2, 2, 2, 0x02, 0, 0, 0, 0, 9, 0x88, 0xa2, 0x10, 0, 0, 1, 0, 0]);
  frame.set([writes ? 0x41 : 0x40, 0, SECTORS, writes ? 0x34 : 0x24], 24);
  frame.fill(0x5a, 36);
  return frame;
}

/** Keeps a LoopPort supplied. @returns a function that has so many frames answered */
export async function openLoop(
  path: string | undefined,
  writes: boolean,
): Promise<(frames: number) => void> {
  let loop: LoopPort | undefined;
  await openDataPath(path, (arena) => (loop = new LoopPort(arena)));
  const port = loop!;
  port.request = ataRequest(writes);
  return (frames) => {
    const before = port.replies;
    for (let left = frames; left > 0; left -= TURN_FRAMES) {
      port.waiting = Math.min(left, TURN_FRAMES);
      port.onReadable!();
    }
    if (port.replies - before !== frames || port.faults > 0) {
      throw new Error(`${port.replies - before} of ${frames} answered, ${port.faults} faults`);
    }
  };
}
