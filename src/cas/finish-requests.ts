import { type BlobStore, StoreFault } from "../blob/blob-store.ts";
import {
  BlockOperation,
  type BlockRequest,
  BlockStatus,
  SECTOR_BYTES,
  type StorageStatistics,
} from "../storage/block-storage.ts";
import type { WriteGroup } from "./write-group.ts";

type StatusOf = (request: BlockRequest) => BlockStatus;

/** Completes requests that are chained, in their order. */
export function finishRequests(
  first: BlockRequest | null,
  statusFor: StatusOf,
  statistics: StorageStatistics,
): void {
  let request = first;
  while (request !== null) {
    const { next } = request;
    request.next = null;
    request.status = statusFor(request);
    if (request.status !== BlockStatus.ok) statistics.faults++;
    request.completed();
    request = next;
  }
}

/** The same for requests whose group is in the log, when the store says that they may be. */
export function finishConfirmed(
  store: BlobStore,
  isRemote: boolean,
  first: BlockRequest | null,
  statusFor: StatusOf,
  statistics: StorageStatistics,
): void {
  const confirmed = first === null ? undefined : store.confirm?.(isRemote);
  if (confirmed === undefined) return finishRequests(first, statusFor, statistics);
  confirmed.then(
    () => finishRequests(first, statusFor, statistics),
    (fault: unknown) => {
      const status = statusOf(fault instanceof StoreFault ? fault : undefined);
      finishRequests(first, () => status, statistics);
    },
  );
  return undefined;
}

/**
 * What becomes of the requests of a group that is in the log of a disk of this size. Holds also
 * after the group is used for others.
 */
export function statusInLog(group: WriteGroup, sizeBytes: number): StatusOf {
  const failed = group.failedBlocks.size > 0 ? new Set(group.failedBlocks) : undefined;
  return (request) => {
    if (request.operation === BlockOperation.flush) return BlockStatus.ok;
    const isBeyondEnd = (request.lba + request.lengthSectors) * SECTOR_BYTES > sizeBytes;
    const isFailed = failed !== undefined && group.touches(request, failed);
    return isBeyondEnd || isFailed ? BlockStatus.writeFault : BlockStatus.ok;
  };
}

/** What an initiator is told of a store that did not take its data. */
export function statusOf(fault: StoreFault | undefined): BlockStatus {
  if (fault?.kind === "noSpace") return BlockStatus.noSpace;
  return fault?.kind === "unavailable" ? BlockStatus.unavailable : BlockStatus.writeFault;
}
