import { crc32 } from "node:zlib";

/**
 * Small objects that people may look at with any tool: one line with a magic, a version, a checksum
 * and a length, then JSON. See docs/formats/packs.md.
 */
const VERSION = 1;
const LONGEST_LINE_BYTES = 80;

export function encodeDocument(kind: string, content: unknown): Uint8Array {
  const body = Buffer.from(`${JSON.stringify(content)}\n`);
  const checksum = crc32(body).toString(16).padStart(8, "0");
  return Buffer.concat([Buffer.from(`aoed ${kind} ${VERSION} ${checksum} ${body.length}\n`), body]);
}

/** "newer": of a version that this program does not know; undefined: it is no such document. */
export function decodeDocument(kind: string, bytes: Uint8Array): unknown {
  const line = Buffer.from(bytes.subarray(0, LONGEST_LINE_BYTES)).toString("latin1");
  const match = /^aoed ([a-z ]+) (\d+) ([0-9a-f]{8}) (\d+)\n/.exec(line);
  if (match === null || match[1] !== kind) return undefined;
  if (Number(match[2]) !== VERSION) return "newer";
  const body = bytes.subarray(match[0].length, match[0].length + Number(match[4]));
  if (body.length !== Number(match[4]) || crc32(body) !== parseInt(match[3], 16)) return undefined;
  return JSON.parse(Buffer.from(body).toString());
}
