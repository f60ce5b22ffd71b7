import { expect, test } from "vitest";
import { BlobIndex } from "./blob-index.ts";
import { batchOf, blobOf } from "./blob-store.compliance.ts";
import { type BlobFetch, FetchOutcome } from "./blob-store.ts";
import { DuplicateCheck } from "./duplicate-check.ts";
import { hashOf } from "./hash.ts";
import { RecentHashes } from "./recent-hashes.ts";

test("a batch is ready when the last of its blobs was compared, not the first", async () => {
  const index = new BlobIndex();
  const inMemory = blobOf("in memory");
  const onDisk = blobOf("on disk");
  index.insert(hashOf(inMemory), 0, 1, 4096, inMemory.length);
  index.insert(hashOf(onDisk), 0, 1, 65536, onDisk.length);
  const state = {
    index,
    recent: new RecentHashes(1024),
    removals: 0,
    protectPuts: false,
    duplicateBlobs: 0,
  };
  const reads: BlobFetch[] = [];
  const answer = (fetch: BlobFetch): void => {
    fetch.outcome = FetchOutcome.ok;
    fetch.fetched();
  };
  const reader = {
    fetch: (fetch: BlobFetch): void => {
      if (Buffer.compare(fetch.hash, hashOf(inMemory)) === 0) answer(fetch);
      else reads.push(fetch);
    },
    submit: (): void => {},
  };
  const queued = new DuplicateCheck(state, reader).prepare(batchOf([inMemory, onDisk], []));
  expect(queued.isReady).toBe(false);
  expect(reads).toHaveLength(1);
  for (const fetch of reads) answer(fetch);
  await queued.ready;
  expect(queued.isReady).toBe(true);
  expect(queued.confirmed).toEqual(new Uint8Array([1, 1]));
});
