import { HASH_BYTES, hashKey, isNullHash } from "../blob/hash.ts";
import type { CasStore } from "./cas-store.ts";
import { ARITY, Geometry } from "./geometry.ts";
import { NodeReader } from "./node-reader.ts";
import { Pacer } from "../blob/pacer.ts";
import { type LbaRange, LbaRanges } from "./lba-ranges.ts";
import { walkTree } from "./tree-walk.ts";

export interface DamagedRanges {
  /** A snapshot's id; null for what the volume holds now. */
  readonly snapshot: string | null;
  readonly volume: string;
  readonly ranges: LbaRange[];
}

/** Says which sectors of which snapshots and volumes damaged blobs belong to. */
export async function locateDamage(
  cas: CasStore,
  hashes: Iterable<Uint8Array>,
): Promise<DamagedRanges[]> {
  const damaged = new Set<string>();
  for (const hash of hashes) damaged.add(hashKey(hash));
  const results: DamagedRanges[] = [];
  for (const { id, volume, root_hash } of cas.catalog.snapshots.values()) {
    const root = await cas.loadRoot(root_hash).catch(() => undefined);
    if (root === undefined) {
      const record = cas.catalog.snapshots.get(id);
      const lengthSectors = (record?.size ?? 0) / 512;
      results.push({ snapshot: id, volume, ranges: [{ lba: 0, lengthSectors }] });
      continue;
    }
    const geometry = new Geometry(root.sizeBytes, root.blockBytes);
    const ranges = await damagedIn(cas, root.top, root.height, geometry, damaged);
    if (ranges.length > 0) results.push({ snapshot: id, volume, ranges });
  }
  await cas.checkpoint();
  for (const { record, base, geometry } of cas.catalog.volumes.values()) {
    const ranges = await damagedIn(cas, base.top, base.height, geometry, damaged);
    if (ranges.length > 0) results.push({ snapshot: null, volume: record.name, ranges });
  }
  return results;
}

function damagedIn(
  cas: CasStore,
  top: Uint8Array,
  height: number,
  geometry: Geometry,
  damaged: Set<string>,
): Promise<LbaRange[]> {
  const ranges = new LbaRanges(geometry.blockBytes, geometry.sizeBytes);
  const pacer = new Pacer();
  return cas.holding({ top, height }, async () => {
    await walkTree(new NodeReader(cas.store), top, height, {
      leaf: (page, first) => {
        for (let child = 0; child < ARITY; child++) {
          const at = child * HASH_BYTES;
          if (!isNullHash(page, at) && damaged.has(hashKey(page, at))) ranges.add(first + child, 1);
        }
        return pacer.pace();
      },
      unreadable: (_fault, first, blocks) => ranges.add(first, blocks),
    });
    return ranges.list;
  });
}
