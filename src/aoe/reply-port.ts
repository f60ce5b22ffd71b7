import type { DropCounts } from "./drop-reason.ts";
import { ETHERNET_HEADER_BYTES } from "./header.wire.ts";
import { ATA_DATA_OFFSET_BYTES } from "../ata/registers.wire.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";

/** The interface that a request came in by and its reply leaves by, as the AoE layer needs it. */
export interface ReplyPort {
  readonly name: string;
  /** Six octets. */
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  readonly drops: DropCounts;
  /** Queues the frame for transmission; it is the port's from then on. */
  send(frame: number, lengthBytes: number): void;
  /** Gives the frame back unanswered. */
  release(frame: number): void;
}

/** Sectors that fit one frame at this MTU; what we accept. */
export function frameSectors(mtuBytes: number): number {
  const room = mtuBytes + ETHERNET_HEADER_BYTES - ATA_DATA_OFFSET_BYTES;
  return Math.min(Math.floor(room / SECTOR_BYTES), 255);
}

/**
 * Sectors that we ask initiators to use: whole blocks of 4 KiB where the MTU allows, because 17
 * sectors, which fit MTU 9000, make every other write a partial one. The Linux driver charges the
 * Ethernet header to the MTU as well.
 */
export function advertisedSectors(mtuBytes: number): number {
  const sectors = Math.floor((mtuBytes - ATA_DATA_OFFSET_BYTES) / SECTOR_BYTES);
  if (sectors >= 16) return 16;
  if (sectors >= 8) return 8;
  return Math.max(sectors, 1);
}
