/** The Ethernet broadcast address. */
export const BROADCAST_MAC = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff);

export const MAC_BYTES = 6;

/** Reads "02:00:00:00:00:01" (also with "-"); undefined when it is anything else. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return Uint8Array.from(text.split(/[:-]/), (octet) => Number.parseInt(octet, 16));
}

/** Writes six octets as "02:00:00:00:00:01". */
export function formatMac(bytes: Uint8Array, offset = 0): string {
  return Array.from(bytes.subarray(offset, offset + MAC_BYTES), (octet) =>
    octet.toString(16).padStart(2, "0"),
  ).join(":");
}

/** Whether the six octets at `offset` are `mac`. */
export function isMac(bytes: Uint8Array, offset: number, mac: Uint8Array): boolean {
  return (
    bytes[offset] === mac[0] &&
    bytes[offset + 1] === mac[1] &&
    bytes[offset + 2] === mac[2] &&
    bytes[offset + 3] === mac[3] &&
    bytes[offset + 4] === mac[4] &&
    bytes[offset + 5] === mac[5]
  );
}
