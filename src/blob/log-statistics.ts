/** What a log has done since it was opened; see `StoreStatistics`. */
export interface LogStatistics {
  frames: number;
  syncs: number;
  appendedBytes: number;
  tailBytes: number;
  unsyncedBytes: number;
}

export function emptyLogStatistics(): LogStatistics {
  return { frames: 0, syncs: 0, appendedBytes: 0, tailBytes: 0, unsyncedBytes: 0 };
}
