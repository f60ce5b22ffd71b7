import type { FrameArena } from "../arena/frame-arena.ts";
import { type TargetConfiguration, targetName } from "../config/configuration.ts";
import type { Log } from "../log/log.ts";
import type { BlockStorage } from "../storage/block-storage.ts";
import { openDeviceStorage } from "../storage/device-storage.ts";
import { openFileStorage } from "../storage/file-storage.ts";
import { openMemoryStorage } from "../storage/memory-storage.ts";

/**
 * Opens the file, device or memory that a target exports; CasTargets opens volumes.
 * @param mayCreate whether a file that is missing is made
 * @throws UsageError that names the target and the path when it cannot be opened
 */
export async function openStorage(
  target: TargetConfiguration,
  arena: FrameArena,
  log: Log,
  mayCreate = true,
): Promise<BlockStorage> {
  const name = targetName(target);
  const options = {
    path: target.path,
    readOnly: target.readOnly,
    direct: target.direct,
    durability: target.durability,
    writebackIntervalMs: target.writebackIntervalMs,
    offsetSectors: target.offsetSectors,
    lengthSectors: target.lengthSectors,
    onFault: (message: string) => log.error({ target: name }, message),
  };
  switch (target.backend) {
    case "file":
      return openFileStorage({ ...options, sizeBytes: target.sizeBytes, mayCreate }, arena);
    case "device":
      return openDeviceStorage(options, arena);
    case "memory":
      return openMemoryStorage(
        { sizeBytes: target.sizeBytes ?? 0, readOnly: target.readOnly },
        arena,
      );
    case "cas":
      throw new Error(`target ${name} has no [target.cas]`);
  }
}
