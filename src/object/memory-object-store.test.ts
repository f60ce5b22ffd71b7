import { describeObjectStore } from "./object-store.compliance.ts";
import { MemoryBucket, MemoryObjectStore } from "./memory-object-store.ts";

describeObjectStore("MemoryObjectStore", async () => {
  const bucket = new MemoryBucket();
  return {
    open: async () => new MemoryObjectStore(bucket),
    keepsWriteIds: true,
    manyKeys: 1500,
  };
});
