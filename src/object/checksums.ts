import { createHash, createHmac, webcrypto } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { crc32 } from "node:zlib";

/** So much at once keeps the event loop for a few milliseconds. */
const PIECE_BYTES = 1024 * 1024;
/** Below this the way to another thread costs more than the hash. */
const LEAST_OFFLOADED_BYTES = 64 * 1024;

/** As Content-MD5 has it. Lets others run between pieces: 64 MiB take a tenth of a second. */
export async function md5Of(data: Uint8Array): Promise<Uint8Array> {
  const md5 = createHash("md5");
  await inPieces(data, (piece) => md5.update(piece));
  return md5.digest();
}

/** Eight hexadecimal digits. */
export async function crc32Of(data: Uint8Array): Promise<string> {
  let crc = 0;
  await inPieces(data, (piece) => (crc = crc32(piece, crc)));
  return hex(crc);
}

async function inPieces(data: Uint8Array, take: (piece: Uint8Array) => unknown): Promise<void> {
  for (let begin = 0; begin < data.length; begin += PIECE_BYTES) {
    if (begin > 0) await nextTurn();
    take(data.subarray(begin, begin + PIECE_BYTES));
  }
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, "0");
}

type Source = string | ArrayBuffer | ArrayBufferView;

/** The SHA-256, keyed or not, with which the S3 client signs: a body goes to another thread. */
export class OffloadedSha256 {
  readonly #secret: Source | undefined;
  readonly #pieces: Uint8Array[] = [];

  constructor(secret?: Source) {
    this.#secret = secret;
  }

  update(source: Source): void {
    this.#pieces.push(bytesOf(source));
  }

  async digest(): Promise<Uint8Array> {
    const [first] = this.#pieces;
    if (this.#secret === undefined && this.#pieces.length === 1) {
      if (first.length >= LEAST_OFFLOADED_BYTES) {
        const bytes = first as Uint8Array<ArrayBuffer>;
        return new Uint8Array(await webcrypto.subtle.digest("SHA-256", bytes));
      }
    }
    const secret = this.#secret;
    const hash =
      secret === undefined ? createHash("sha256") : createHmac("sha256", bytesOf(secret));
    for (const piece of this.#pieces) hash.update(piece);
    return hash.digest();
  }
}

function bytesOf(source: Source): Uint8Array {
  if (typeof source === "string") return Buffer.from(source);
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
}
