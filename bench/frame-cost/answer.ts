/**
 * Has so many frames answered, on a disk in memory: `node answer.js read|write FRAMES`. For a tool
 * that counts from outside (callgrind).
 */
import { openLoop } from "./data-path.ts";

const [kind, frames] = process.argv.slice(2);
(await openLoop(undefined, kind === "write"))(Number(frames));
process.exit(0);
