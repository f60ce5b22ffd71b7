import { RuntimeFault, UsageError } from "../errors.ts";
import { ObjectFault, objectFaultCode, type ObjectStore } from "../object/object-store.ts";
import type { Clock } from "./clock.ts";
import { decodeDocument, encodeDocument } from "./document.ts";
import { LEASE_KEY } from "./pack-names.ts";
import { persistently } from "./persistence.ts";

/** What the object "lease" says. */
export interface LeaseRecord {
  /** Counts the owners. */
  readonly epoch: number;
  /** Random; of one local folder, also after a restart. */
  readonly owner: string;
  /** For people. */
  readonly host: string;
  /** Counts the versions of one epoch: none is like another. */
  readonly counter: number;
  readonly durationMs: number;
  /** The owner has left in good order. */
  readonly isReleased: boolean;
  /** ISO 8601, by the owner's clock: for people only. */
  readonly renewed: string;
}

export interface LeaseOptions {
  readonly owner: string;
  readonly host: string;
  readonly durationMs: number;
  readonly clock: Clock;
  /** Take it from another owner without waiting until it expires. */
  readonly takeOver: boolean;
  /** Of the head: the object "lease" may be gone, and no epoch may ever be used twice. */
  readonly headEpoch?: number;
  /** Told when the wait for another owner's lease begins. */
  readonly onWait?: (holder: LeaseRecord) => void;
  readonly signal: AbortSignal;
}

const RENEWALS_PER_LEASE = 6;
/** By how much a taker waits longer than the lease lasts: clocks run at slightly different speeds. */
const EXPIRY_MARGIN = 1.05;
const RETRY_MS = 1000;

interface Version {
  readonly record: LeaseRecord;
  readonly etag: string;
}

/**
 * The right to write to a store: an object that its owner renews, and that another takes over when
 * it was not renewed for as long as it lasts. No clocks are compared: a taker measures the time
 * since it first saw a version, the owner the time since it began to send one.
 */
export class Lease {
  readonly epoch: number;
  /** Called once, when another has taken over. */
  onLost: (reason: string) => void = () => {};
  readonly #objects: ObjectStore;
  readonly #options: LeaseOptions;
  #current: Version;
  #validUntilMs: number;
  #validUntilWallMs: number;
  #lost: string | undefined;
  #waiting: { resolve: () => void; reject: (reason: Error) => void }[] = [];
  readonly #stop = new AbortController();
  #renewing: Promise<void> | undefined;

  private constructor(objects: ObjectStore, options: LeaseOptions, version: Version, since: Since) {
    this.#objects = objects;
    this.#options = options;
    this.#current = version;
    this.epoch = version.record.epoch;
    this.#validUntilMs = since.nowMs + options.durationMs;
    this.#validUntilWallMs = since.wallMs + options.durationMs;
  }

  /** Waits for the lease, and takes it. @throws UsageError, ObjectFault */
  static async acquire(objects: ObjectStore, options: LeaseOptions): Promise<Lease> {
    const { clock } = options;
    let seen: { etag: string; sinceMs: number } | undefined;
    for (;;) {
      const version = await read(objects);
      if (version === undefined || isFree(version.record, options)) {
        const taken = await Lease.#take(objects, options, version);
        if (taken !== undefined) return taken;
        continue;
      }
      if (seen?.etag !== version.etag) {
        if (seen === undefined) options.onWait?.(version.record);
        seen = { etag: version.etag, sinceMs: clock.nowMs() };
      }
      const { durationMs } = version.record;
      const remainingMs = seen.sinceMs + durationMs * EXPIRY_MARGIN - clock.nowMs();
      if (remainingMs <= 0) {
        const taken = await Lease.#take(objects, options, version);
        if (taken !== undefined) return taken;
        continue;
      }
      await clock.sleep(Math.min(remainingMs, durationMs / RENEWALS_PER_LEASE), options.signal);
      options.signal.throwIfAborted();
    }
  }

  /** Undefined when another was first. */
  static async #take(
    objects: ObjectStore,
    options: LeaseOptions,
    version: Version | undefined,
  ): Promise<Lease | undefined> {
    const { owner, host, durationMs, clock, headEpoch = 0 } = options;
    const since = { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
    const record: LeaseRecord = {
      epoch: Math.max(version?.record.epoch ?? 0, headEpoch) + 1,
      owner,
      host,
      counter: 0,
      durationMs,
      isReleased: false,
      renewed: new Date(since.wallMs).toISOString(),
    };
    try {
      const bytes = encode(record);
      const etag =
        version === undefined
          ? await objects.putIfAbsent(LEASE_KEY, bytes)
          : await objects.putIfMatch(LEASE_KEY, bytes, version.etag);
      return new Lease(objects, options, { record, etag }, since);
    } catch (error) {
      const code = objectFaultCode(error);
      if (code === "exists" || code === "changed") return undefined;
      throw error;
    }
  }

  /** Whether nobody else can have the lease at this moment. */
  get isValid(): boolean {
    const { clock } = this.#options;
    return (
      this.#lost === undefined &&
      clock.nowMs() < this.#validUntilMs &&
      // The first clock stands still while the machine sleeps.
      clock.wallMs() < this.#validUntilWallMs
    );
  }

  /** Resolves when the lease is valid (again); rejects when another has it. */
  async whenValid(): Promise<void> {
    while (!this.isValid) {
      if (this.#lost !== undefined) throw new LeaseLost(this.#lost);
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push({ resolve, reject });
        void this.renew();
      });
    }
  }

  /** Keeps the lease until it is released or lost. */
  keep(): void {
    void this.#keep();
  }

  async #keep(): Promise<void> {
    const { clock, durationMs } = this.#options;
    while (!this.#stop.signal.aborted) {
      await clock.sleep(durationMs / RENEWALS_PER_LEASE, this.#stop.signal);
      if (!this.#stop.signal.aborted) await this.renew();
    }
  }

  /** One renewal, however many ask for it; never rejects. */
  renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renew(): Promise<void> {
    const { clock } = this.#options;
    const persistence = { clock, signal: this.#stop.signal };
    try {
      await persistently(persistence, () => this.#renewOnce());
    } catch (error) {
      if (error instanceof UsageError) return this.lose(error.message);
      if (!(error instanceof ObjectFault)) throw error;
      if (this.#stop.signal.aborted) return;
      // The store refuses what it took before. The lease runs out unless that passes.
      await clock.sleep(RETRY_MS, this.#stop.signal);
    }
  }

  async #renewOnce(): Promise<void> {
    const { clock } = this.#options;
    while (this.#lost === undefined) {
      const { record, etag } = this.#current;
      const since = { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
      const next = renewed(record, this.#options);
      try {
        const newEtag = await this.#objects.putIfMatch(LEASE_KEY, encode(next), etag);
        this.#current = { record: next, etag: newEtag };
        return this.#prolong(since);
      } catch (error) {
        if (objectFaultCode(error) !== "changed") throw error;
        await this.#judge();
      }
    }
  }

  /**
   * Another version is there: one of ours whose answer was lost, or that of a new owner. When ours
   * was written is not known, so it prolongs nothing: it is only what the next put replaces.
   */
  async #judge(): Promise<void> {
    const version = await read(this.#objects);
    const { owner } = this.#options;
    if (version?.record.epoch === this.epoch && version.record.owner === owner) {
      this.#current = version;
      return;
    }
    this.lose(
      version === undefined
        ? "its lease was removed"
        : `${version.record.host} has taken it over (epoch ${version.record.epoch}, after ${this.epoch})`,
    );
  }

  #prolong({ nowMs, wallMs }: Since): void {
    this.#validUntilMs = nowMs + this.#options.durationMs;
    this.#validUntilWallMs = wallMs + this.#options.durationMs;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { resolve } of waiting) resolve();
  }

  /** Somebody saw that another owner writes. */
  lose(reason: string): void {
    if (this.#lost !== undefined) return;
    this.#lost = reason;
    this.#stop.abort();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) reject(new LeaseLost(reason));
    this.onLost(reason);
  }

  /** Ends the renewals. What is left of the lease goes on for another to wait for. */
  abandon(): void {
    this.#stop.abort();
  }

  /** Leaves in good order: the next owner need not wait. */
  async release(): Promise<void> {
    this.#stop.abort();
    await this.#renewing;
    if (this.#lost !== undefined) return;
    const { record, etag } = this.#current;
    const last = { ...renewed(record, this.#options), isReleased: true };
    await this.#objects.putIfMatch(LEASE_KEY, encode(last), etag).catch((error: unknown) => {
      // The next owner waits a while instead.
      if (!(error instanceof ObjectFault)) throw error;
    });
  }
}

/** Another has taken over the store. */
export class LeaseLost extends RuntimeFault {
  constructor(reason: string) {
    super(reason);
    this.name = "LeaseLost";
  }
}

interface Since {
  readonly nowMs: number;
  readonly wallMs: number;
}

function encode(record: LeaseRecord): Uint8Array {
  return encodeDocument("lease", record);
}

function renewed(record: LeaseRecord, { clock }: LeaseOptions): LeaseRecord {
  const renewedAt = new Date(clock.wallMs()).toISOString();
  return { ...record, counter: record.counter + 1, renewed: renewedAt };
}

/** The same folder may take its own lease at once: it is locked, so its last user is gone. */
function isFree({ isReleased, owner }: LeaseRecord, options: LeaseOptions): boolean {
  return isReleased || options.takeOver || owner === options.owner;
}

async function read(objects: ObjectStore): Promise<Version | undefined> {
  try {
    const { data, etag } = await objects.get(LEASE_KEY);
    const record = decodeDocument("lease", data) as LeaseRecord | "newer" | undefined;
    if (record !== undefined && record !== "newer") return { record, etag };
    throw new UsageError(
      record === "newer"
        ? `${objects.description} is used by a newer version of aoed: use that version`
        : `${objects.description}: the object "lease" is damaged or none of aoed's; ` +
            "delete it when no other machine uses the store, or use another prefix",
    );
  } catch (error) {
    if (objectFaultCode(error) === "missing") return undefined;
    throw error;
  }
}
