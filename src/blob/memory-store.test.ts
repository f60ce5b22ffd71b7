import { describeBlobStore } from "./blob-store.compliance.ts";
import { hashKey, hashOf } from "./hash.ts";
import { MemoryMedium, MemoryStore } from "./memory-store.ts";

describeBlobStore("MemoryStore", async () => {
  const medium = new MemoryMedium();
  return {
    open: (reader) => MemoryStore.open(reader, medium),
    damage: async (data) => {
      const blob = medium.blobs.get(hashKey(hashOf(data)));
      if (blob !== undefined) blob.data[17] ^= 4;
    },
  };
});
