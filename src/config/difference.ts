import { isDeepStrictEqual } from "node:util";
import { type Configuration, type TargetConfiguration, targetName } from "./configuration.ts";

/** What makes one target of a running server as a new configuration has it. */
export type TargetChange =
  | { readonly kind: "add" | "remove"; readonly target: TargetConfiguration }
  | {
      readonly kind: "change";
      readonly target: TargetConfiguration;
      readonly before: TargetConfiguration;
      /** As the configuration file names them: "durability", "cas.cache". */
      readonly keys: readonly string[];
      /** Its disk is closed, because a change before could not be taken back. */
      readonly isSuspended?: boolean;
    };

export interface Difference {
  /** Keys of [server] that differ: none can be changed without a new start. */
  readonly serverKeys: readonly string[];
  readonly targets: readonly TargetChange[];
}

/** Keys that are not simply the property's name with underscores. */
const KEY_NAMES: Readonly<Record<string, string>> = {
  sizeBytes: "size",
  lengthSectors: "length",
  offsetSectors: "offset",
  writebackIntervalMs: "writeback_interval",
  stateDirectory: "state_dir",
  controlSocketAccess: "control_socket_mode",
  blockSizeBytes: "block_size",
  cacheBytes: "cache",
};

/** From a running configuration to another one. */
export function difference(running: Configuration, next: Configuration): Difference {
  const before = byName(running.targets);
  const after = byName(next.targets);
  const targets: TargetChange[] = [];
  for (const [name, target] of before) {
    if (!after.has(name)) targets.push({ kind: "remove", target });
  }
  for (const [name, target] of after) {
    const present = before.get(name);
    if (present === undefined) {
      targets.push({ kind: "add", target });
      continue;
    }
    const keys = differingKeys(present, target);
    if (keys.length > 0) targets.push({ kind: "change", target, before: present, keys });
  }
  return { serverKeys: differingKeys(running.server, next.server), targets };
}

function byName(targets: readonly TargetConfiguration[]): Map<string, TargetConfiguration> {
  return new Map(targets.map((target) => [targetName(target), target]));
}

function differingKeys(before: object, after: object): string[] {
  const left = before as Readonly<Record<string, unknown>>;
  const right = after as Readonly<Record<string, unknown>>;
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].flatMap((property) => {
    const [one, other] = [left[property], right[property]];
    if (isDeepStrictEqual(one, other)) return [];
    if (property !== "cas" || one === undefined || other === undefined) return [keyOf(property)];
    return differingKeys(one as object, other as object).map((key) => `cas.${key}`);
  });
}

function keyOf(property: string): string {
  return (
    KEY_NAMES[property] ?? property.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  );
}

/** Keys that take effect on a target in use, without a pause. */
const LIVE_KEYS = new Set(["allow", "wire_changes", "config_string"]);

/** Whether the disk must be closed and opened again for this change: its initiators wait so long. */
export function reopens(change: TargetChange): boolean {
  if (change.kind !== "change") return false;
  return change.isSuspended === true || change.keys.some((key) => !LIVE_KEYS.has(key));
}
