import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";

/** The host's view of record-writer.c: what the client knows as written, and what the disk holds. */
const RECORD_BYTES = 4096;
const RECORD_WORDS = RECORD_BYTES / 4;

/** How many records each writer has noted as completed; writer w's i-th is record i × writers + w. */
export function completedRecords(exchange: string, writers: number): number[] {
  return Array.from({ length: writers }, (_, writer) => {
    try {
      const line = readFileSync(join(exchange, `notes.${writer}`), "utf8");
      return line.endsWith("\n") ? Number(line) : 0;
    } catch {
      return 0;
    }
  });
}

/** @returns the numbers of the completed records that the image does not hold as they were written */
export function missingRecords(image: string, completed: readonly number[]): number[] {
  const missing: number[] = [];
  const octets = Buffer.alloc(RECORD_BYTES);
  const file = openSync(image, "r");
  for (const [writer, count] of completed.entries()) {
    for (let i = 0; i < count; i += 1) {
      const number = i * completed.length + writer;
      readSync(file, octets, 0, RECORD_BYTES, number * RECORD_BYTES);
      if (!octets.equals(recordOctets(number))) missing.push(number);
    }
  }
  closeSync(file);
  return missing;
}

const expected = new Uint32Array(RECORD_WORDS);

function recordOctets(number: number): Uint8Array {
  let state = (Math.imul(number, 2654435761) | 1) >>> 0;
  expected[0] = number;
  for (let i = 1; i < RECORD_WORDS; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    expected[i] = state;
  }
  return new Uint8Array(expected.buffer);
}
