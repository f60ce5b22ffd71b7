import { createHash } from "node:crypto";
import { MAC_BYTES } from "./mac-address.ts";

/** The bits of the first octet that are free, and the one of a locally administered address. */
const FREE_BITS = 0x7c;
const LOCALLY_ADMINISTERED = 0x02;

/**
 * A locally administered address that depends on the words alone: the same after a restart, so that
 * initiators need not learn another, and different on every host and segment. It never begins with
 * fe, the mark of the kernel's end of a TAP.
 */
export function stableMac(...words: string[]): Uint8Array {
  const digest = createHash("sha256")
    .update(["aoed", ...words].join("\0"))
    .digest();
  const mac = Uint8Array.from(digest.subarray(0, MAC_BYTES));
  mac[0] = (mac[0] & FREE_BITS) | LOCALLY_ADMINISTERED;
  return mac;
}
