import { createHash } from "node:crypto";
import { MAC_BYTES } from "./mac-address.ts";

const LOCALLY_ADMINISTERED = 0x02;
const MULTICAST = 0x01;

/**
 * A locally administered address that depends on the words alone: the same after a restart, so that
 * initiators need not learn another, and different on every host and segment.
 */
export function stableMac(...words: string[]): Uint8Array {
  const digest = createHash("sha256")
    .update(["aoed", ...words].join("\0"))
    .digest();
  const mac = Uint8Array.from(digest.subarray(0, MAC_BYTES));
  mac[0] = (mac[0] | LOCALLY_ADMINISTERED) & ~MULTICAST;
  return mac;
}
