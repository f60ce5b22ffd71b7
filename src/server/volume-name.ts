import { isVolumeName, VOLUME_NAME_RULE } from "../config/schema.ts";
import { UsageError } from "../errors.ts";

/** @throws UsageError when a new volume cannot have this name */
export function checkVolumeName(name: string): void {
  if (isVolumeName(name)) return;
  throw new UsageError(`${JSON.stringify(name)} is not the name of a volume; ${VOLUME_NAME_RULE}`);
}
