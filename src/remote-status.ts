/** How a store stands whose truth is elsewhere, in an object store: said by the store, shown to people. */
export interface RemoteStatus {
  /** What and where, for people. */
  readonly description: string;
  /** Of the lease: counts the owners of the store. */
  readonly epoch: number;
  /** Bytes acknowledged as durable that the object store does not have. */
  readonly dirtyBytes: number;
  /** For how long the oldest of them has waited. */
  readonly lagMs: number;
  /** The last frame of the log that the object store has. */
  readonly headSequence: number;
  /** When the newest state in the object store was stored; ISO 8601. Null: there is none yet. */
  readonly headTime: string | null;
  /** What is wrong with the object store at this moment; null: nothing. */
  readonly trouble: string | null;
  /** Why this machine must not write any more; null: it may. */
  readonly fenced: string | null;
  /** Bytes of the store on the local disk: segments, and what is cached of packs. */
  readonly cachedBytes: number;
  /** Requests and bytes since the start, as the owner of the object store is charged for them. */
  readonly puts: number;
  readonly gets: number;
  readonly lists: number;
  readonly deletes: number;
  readonly bytesWritten: number;
  readonly bytesRead: number;
  readonly retries: number;
  readonly failures: number;
}
