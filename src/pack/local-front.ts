import type { LogDisk } from "../blob/log-disk.ts";
import {
  encodeSegmentHeader,
  encodeSuperblock,
  SUPERBLOCK_NAME,
  SUPERBLOCK_STRIDE_BYTES,
} from "../blob/segment-format.ts";
import { SEGMENT_NAME, segmentName } from "../blob/segment-space.ts";
import { UsageError } from "../errors.ts";
import { ObjectFault, type ObjectStore } from "../object/object-store.ts";
import type { Head } from "./head.ts";
import type { Marker } from "./marker-file.ts";
import { bodyOf, decodePackHeader, PACK_BODY_OFFSET } from "./pack-format.ts";
import { packKey } from "./pack-names.ts";
import type { PackPart, RemoteSegment } from "./remote-segment.ts";

/** Packs that are fetched at once. */
const PARALLEL_GETS = 8;
/** To get a pack whole, when what comes is damaged. */
const MOST_ATTEMPTS = 3;

/** What is to be done with a local folder: go on with its log, or make it anew from the head. */
export type LocalPlan = "continue" | "attach";

/**
 * Whether the log of a local folder goes on from a head. Writes that are only in a folder are never
 * thrown away: when others have written to the store since, that is refused. @throws UsageError
 */
export async function planLocal(
  disk: LogDisk,
  marker: Marker | undefined,
  head: Head | undefined,
  storeDescription: string,
): Promise<LocalPlan> {
  const folder = disk.description;
  const anew = `move ${folder} away to attach the store anew`;
  if (head === undefined) {
    if (marker === undefined || marker.headEpoch === 0) return "continue";
    throw new UsageError(
      `${folder} belongs to a store with writes in it, but ${storeDescription} is empty: ` +
        "correct the bucket or the prefix",
    );
  }
  if (marker === undefined) {
    await refuseOtherLog(disk, storeDescription);
    return "attach";
  }
  if (marker.state === "attaching") return "attach";
  if (marker.storeId !== "" && marker.storeId !== head.storeId) {
    throw new UsageError(
      `${folder} belongs to another store than ${storeDescription}: correct the one or the other`,
    );
  }
  const isOurs = head.epoch === marker.epoch || head.epoch === marker.headEpoch;
  if (isOurs && (await hasLog(disk))) return "continue";
  if (marker.state === "clean") return "attach";
  throw new UsageError(
    `${head.writer} has written to ${storeDescription} since ${folder} was used the last time, and ` +
      `${folder} may hold writes that never reached the store: ${anew} without them`,
  );
}

async function hasLog(disk: LogDisk): Promise<boolean> {
  return (await disk.list()).includes(SUPERBLOCK_NAME);
}

/** For a folder without a marker: a log in it is a store of its own. @throws UsageError */
export async function refuseOtherLog(disk: LogDisk, storeDescription: string): Promise<void> {
  if (!(await hasLog(disk))) return;
  throw new UsageError(
    `${disk.description} holds another store than ${storeDescription}: name an empty folder, or ` +
      `move ${disk.description} away to attach the store anew`,
  );
}

/** Removes the log of the folder. What is cached of packs stays: it is the same for everybody. */
export async function clearLocal(disk: LogDisk): Promise<void> {
  for (const name of await disk.list()) {
    if (name === SUPERBLOCK_NAME || SEGMENT_NAME.test(name)) await disk.remove(name);
  }
  await disk.syncNames();
}

/**
 * Makes a local log that stands where the head stands: segments that go on are brought here, the
 * superblock comes last. @throws ObjectFault
 */
export async function layLocal(
  disk: LogDisk,
  objects: ObjectStore,
  head: Head,
  segments: readonly RemoteSegment[],
): Promise<void> {
  const storeId = storeIdOf(head);
  let slot = 0;
  for (const segment of segments) {
    if (segment.isSealed) continue;
    const file = await disk.create(segmentName(slot++));
    await file.write(headerOf(storeId, segment), 0);
    for (let at = 0; at < segment.parts.length; at += PARALLEL_GETS) {
      const parts = segment.parts.slice(at, at + PARALLEL_GETS);
      const bodies = await Promise.all(parts.map(async (part) => fetchBody(objects, part)));
      for (const [place, body] of bodies.entries()) await file.write(body, parts[place].start);
    }
    await file.sync();
    await file.close();
  }
  const superblock = await disk.create(SUPERBLOCK_NAME);
  const bytes = encodeSuperblock({
    storeId,
    segmentBytes: head.segmentBytes,
    counter: 1,
    epoch: head.logEpoch,
    checkpoint: head.checkpoint,
    previousCheckpoint: head.previousCheckpoint,
    durableSequence: head.sequence,
  });
  await superblock.writeDurably(bytes, SUPERBLOCK_STRIDE_BYTES);
  await superblock.close();
  await disk.syncNames();
}

export function storeIdOf({ storeId }: Head): Uint8Array {
  return new Uint8Array(Buffer.from(storeId, "hex"));
}

function headerOf(storeId: Uint8Array, segment: RemoteSegment): Uint8Array {
  return encodeSegmentHeader(storeId, {
    inUse: true,
    segmentNumber: segment.number,
    firstSequence: segment.firstSequence,
    previousChecksum: segment.previousChecksum,
    epoch: segment.logEpoch,
  });
}

/**
 * The part of a segment in a pack. A pack that stays damaged is taken as it is: the recovery of the
 * log refuses what it cannot do without, and the rest is found out when it is read.
 */
async function fetchBody(objects: ObjectStore, part: PackPart): Promise<Uint8Array> {
  const key = packKey(part);
  const lengthBytes = part.end - part.start;
  for (let attempt = 1; ; attempt++) {
    const { data } = await objects.get(key);
    const body = bodyOf(data);
    if (body?.length === lengthBytes) return body;
    if (attempt < MOST_ATTEMPTS) continue;
    const rest = data.subarray(PACK_BODY_OFFSET, PACK_BODY_OFFSET + lengthBytes);
    if (decodePackHeader(data) !== undefined && rest.length === lengthBytes) return rest;
    throw new ObjectFault("corrupt", `${key} in ${objects.description} is damaged`);
  }
}
