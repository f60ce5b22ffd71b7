import { AwaitedBatch, type BlobStore } from "../../src/blob/blob-store.ts";
import { HASH_BYTES, hashPieces } from "../../src/blob/hash.ts";

const MOST_BLOBS_A_BATCH = 4096;

/** Puts so many blobs that differ from each other, in large batches. */
export async function putBlobs(store: BlobStore, count: number, blobBytes: number): Promise<void> {
  const atOnce = Math.min(MOST_BLOBS_A_BATCH, Math.floor(store.maxBatchBytes / 2 / blobBytes));
  const source = new Uint8Array(atOnce * blobBytes);
  const numbers = new Uint32Array(source.buffer);
  const names = new Uint8Array(atOnce * HASH_BYTES);
  const offsets = Uint32Array.from({ length: atOnce }, (_, blob) => blob * blobBytes);
  const lengths = new Uint32Array(atOnce).fill(blobBytes);
  for (let done = 0; done < count; done += atOnce) {
    for (let blob = 0; blob < atOnce; blob++) numbers[offsets[blob] / 4] = done + blob + 1;
    hashPieces(source, offsets, lengths, atOnce, names);
    const batch = new AwaitedBatch(atOnce);
    batch.durable = false;
    for (let blob = 0; blob < atOnce; blob++) {
      batch.addBlob(names, blob * HASH_BYTES, source, offsets[blob], blobBytes);
    }
    await batch.appendTo(store);
  }
  await store.barrier();
}
