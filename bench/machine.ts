import { cpus, loadavg, release, totalmem } from "node:os";
import { outcomeOf } from "./child-process.ts";
import type { Machine } from "./result.ts";

/** What the figures depend on. @param diskDirectory lies on the disk that is measured */
export async function describeMachine(diskDirectory: string): Promise<Machine> {
  const disk = await outcomeOf(["findmnt", "-no", "FSTYPE", "--target", diskDirectory]);
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    processors: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    diskFileSystem: disk.output.trim(),
    loadAverage: loadavg()[0],
  };
}
