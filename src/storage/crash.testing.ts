/**
 * Run as a process of its own by crash.test.ts: writes to the file given, sector by sector in an
 * order that repeats, and reports each acknowledged write as a line "lba value" on standard output.
 * It goes on until it is killed.
 */
import { writeSync } from "node:fs";
import { FrameArena } from "../arena/frame-arena.ts";
import { TestDisk, TestRequest } from "./block-storage.testing.ts";
import { BlockStatus, SECTOR_BYTES } from "./block-storage.ts";
import { openFileStorage } from "./file-storage.ts";

const WINDOW = 32;

const path = process.argv[2] ?? "";
const sectors = Number(process.argv[3]);
const arena = new FrameArena(WINDOW);
const storage = await openFileStorage({ path }, arena);
const disk = new TestDisk(storage, arena);
let turn = 0;

function next(request: TestRequest): void {
  turn++;
  request.lba = (turn * 7) % sectors;
  const value = 1 + (turn % 255);
  disk.data(request).fill(value);
  request.onCompleted = () => {
    if (request.status !== BlockStatus.ok) throw new Error(`write failed: ${request.status}`);
    writeSync(1, `${request.lba} ${value}\n`);
    next(request);
  };
  storage.write(request);
  setImmediate(() => disk.submit());
}

for (let index = 0; index < WINDOW; index++) {
  const request = new TestRequest();
  request.lengthSectors = 1;
  request.memoryOffset = index * SECTOR_BYTES;
  next(request);
}
