import { AtaOpcode } from "../ata/ata-engine.ts";
import { ETHERNET_HEADER_BYTES } from "../ethernet/ethernet-port.ts";
import { SECTOR_BYTES } from "../storage/block-storage.ts";
import { AtaRequest } from "./ata-request.ts";
import { ConfigRequest } from "./config-request.ts";
import { NoAnswerError } from "./initiator-error.ts";
import { Path } from "./path.ts";
import type { Transport } from "./transport.ts";

/** How large frames may be on the way to a target and back. */
export interface PathSizes {
  /** The largest packet that reaches the target, in octets: a path MTU. */
  readonly outwardBytes: number;
  /** Most sectors in an answer that comes back; undefined when the disk cannot be read. */
  readonly inwardSectors: number | undefined;
}

const SMALLEST_PACKET_BYTES = 64;

/** What is asked in vain is asked so long, and once more: a frame may be lost for other reasons. */
const PROBE_TIMEOUT_MS = 600;

/**
 * Finds by trying which frames pass: outward with Config queries that are padded, inward with reads.
 * Nothing is changed on the target.
 *
 * @param maxSectors the most that the target takes in one command, and this interface in a frame
 */
export async function probePath(
  transport: Transport,
  path: Path,
  sectors: number,
  maxSectors: number,
): Promise<PathSizes> {
  const mtuBytes = transport.port.link.mtuBytes;
  const outwardBytes = await largest(SMALLEST_PACKET_BYTES, mtuBytes, (packetBytes) =>
    isQueryAnswered(transport, path, packetBytes + ETHERNET_HEADER_BYTES),
  );
  const mostSectors = Math.min(maxSectors, sectors);
  if (mostSectors < 1) return { outwardBytes, inwardSectors: undefined };
  const inwardSectors = await largest(0, mostSectors, (count) =>
    isReadAnswered(transport, path, count),
  );
  return { outwardBytes, inwardSectors: inwardSectors === 0 ? undefined : inwardSectors };
}

/** The largest of `known` to `most` that passes, when all smaller ones do; `known` passes. */
async function largest(
  known: number,
  most: number,
  passes: (value: number) => Promise<boolean>,
): Promise<number> {
  if (most <= known || (await passes(most))) return most;
  let good = known;
  let bad = most;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (await passes(middle)) good = middle;
    else bad = middle;
  }
  return good;
}

class PaddedConfigRequest extends ConfigRequest {
  frameBytes = 0;

  override writeArguments(bytes: Uint8Array, at: number): number {
    const lengthBytes = super.writeArguments(bytes, at);
    bytes.fill(0, at + lengthBytes, at + this.frameBytes);
    return Math.max(lengthBytes, this.frameBytes);
  }
}

async function isQueryAnswered(
  transport: Transport,
  { shelf, slot, mac }: Path,
  frameBytes: number,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const request = new PaddedConfigRequest(new Path(shelf, slot, mac), {
      succeeded: () => resolve(true),
      failed: (error) => (error instanceof NoAnswerError ? resolve(false) : reject(error)),
    });
    request.frameBytes = frameBytes;
    transport.submit(request, PROBE_TIMEOUT_MS);
  });
}

/** An ATA error is an answer, but one without data: it says nothing of the size. */
async function isReadAnswered(
  transport: Transport,
  { shelf, slot, mac }: Path,
  sectorCount: number,
): Promise<boolean> {
  const dataInBytes = sectorCount * SECTOR_BYTES;
  const fields = { command: AtaOpcode.readSectorsExt, lba: 0, sectorCount, dataInBytes };
  return new Promise((resolve, reject) => {
    const request = new AtaRequest(new Path(shelf, slot, mac), fields, {
      succeeded: ({ data }) => resolve(data.length === dataInBytes),
      failed: (error) => (error instanceof NoAnswerError ? resolve(false) : reject(error)),
    });
    transport.submit(request, PROBE_TIMEOUT_MS);
  });
}
