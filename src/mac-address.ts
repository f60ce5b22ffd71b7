/**
 * MAC addresses are 48-bit numbers inside, so that they can be compared and put in a Set, and
 * "02:00:00:00:00:01" for people and files.
 */

export function formatMac(mac: number): string {
  return mac
    .toString(16)
    .padStart(12, "0")
    .replace(/..(?=.)/g, "$&:");
}

/** Reads "02:00:00:00:00:01", also with "-"; undefined when it is anything else. */
export function parseMac(text: string): number | undefined {
  const match = /^[0-9a-f]{2}(?:([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4})$/i.exec(text.trim());
  return match === null ? undefined : Number.parseInt(text.replace(/[^0-9a-f]/gi, ""), 16);
}
