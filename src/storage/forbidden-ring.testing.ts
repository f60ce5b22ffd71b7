/**
 * Run as a process of its own by disk-faults.test.ts, where the kernel refuses io_uring: writes the
 * first sectors of a new file past the page cache, reads them back, and says what it found.
 */
import { FrameArena } from "../arena/frame-arena.ts";
import { finish, TestDisk } from "./block-storage.testing.ts";
import { openFileStorage } from "./file-storage.ts";

const path = process.argv[2] ?? "";
const arena = new FrameArena(16);
const storage = await openFileStorage({ path, sizeBytes: 1024 * 1024, direct: true }, arena);
const disk = new TestDisk(storage, arena);
await finish(disk, [disk.write(0, 8, 7)]);
const data = await disk.readBack(0, 8);
process.stdout.write(`ring ${storage.usesRing}\nread ${data[0]}\n`);
await storage.close();
