import { type RemoteStatus, StoreFault } from "../blob/blob-store.ts";
import type { ObjectFault, ObjectStore } from "../object/object-store.ts";
import type { Clock } from "./clock.ts";
import type { Head } from "./head.ts";
import type { Lease } from "./lease.ts";
import type { PackGarbage } from "./pack-garbage.ts";
import type { RemoteLog } from "./remote-log.ts";
import type { Uploader } from "./uploader.ts";

export interface RemoteSideParts {
  readonly description: string;
  readonly objects: ObjectStore;
  readonly log: RemoteLog;
  readonly lease: Lease;
  readonly uploader: Uploader;
  readonly garbage: PackGarbage;
  readonly clock: Clock;
  readonly abort: AbortController;
  readonly cachedBytes: () => number;
  readonly logMessage: (level: "warn" | "error", message: string) => void;
  /** For how long a stop waits for the object store. */
  readonly closeTimeoutMs: number;
}

/** A lease that cannot be given back runs out. */
const RELEASE_TIMEOUT_MS = 3000;

interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (fault: StoreFault) => void;
}

/** The writer's side of an object store: the lease, the uploads, and who waits for them. */
export class RemoteSide {
  fault: StoreFault | undefined;
  /** Called when a head is stored. */
  onHead: () => void = () => {};
  /** Called once, when the store has another owner. */
  onFault: () => void = () => {};
  readonly #parts: RemoteSideParts;
  #trouble: ObjectFault | undefined;
  #head: Head | undefined;
  #waiters: Waiter[] = [];

  constructor(parts: RemoteSideParts) {
    this.#parts = parts;
    this.#head = parts.uploader.head;
    parts.lease.onLost = (reason) => this.fence(reason);
    parts.log.onWork = () => parts.uploader.work();
  }

  get status(): RemoteStatus {
    const { log, lease, objects, description, cachedBytes } = this.#parts;
    return {
      description,
      epoch: lease.epoch,
      dirtyBytes: log.dirtyBytes,
      lagMs: Math.round(log.lagMs),
      headSequence: log.headSequence,
      headTime: this.#head?.written ?? null,
      trouble: this.#trouble?.message ?? null,
      fenced: this.fault?.message ?? null,
      cachedBytes: cachedBytes(),
      ...objects.statistics,
    };
  }

  get isLeaseValid(): boolean {
    return this.#parts.lease.isValid;
  }

  /** Whether another append may begin. */
  maySend(maxDirtyBytes: number): boolean {
    return this.#parts.lease.isValid && this.#parts.log.dirtyBytes < maxDirtyBytes;
  }

  whenLeaseHolds(): Promise<void> {
    return this.#parts.lease.whenValid();
  }

  /** See `BlobStore.confirm`. */
  confirm(isRemote: boolean): Promise<void> | undefined {
    if (this.fault !== undefined) return Promise.reject(this.fault);
    const { lease, log, uploader } = this.#parts;
    if (isRemote && log.headSequence < log.durableSequence) {
      const sequence = log.durableSequence;
      uploader.hurry(sequence);
      return new Promise((resolve, reject) => this.#waiters.push({ sequence, resolve, reject }));
    }
    if (lease.isValid) return undefined;
    return lease.whenValid().catch((error: unknown) => {
      throw this.fault ?? error;
    });
  }

  /** Everything that is durable here is wanted in the store. */
  hurry(): void {
    this.#parts.uploader.hurry(this.#parts.log.durableSequence);
  }

  /** Resolves when another head is stored, or none will be. */
  async nextHead(): Promise<void> {
    if (this.fault !== undefined) return;
    const sequence = this.#parts.log.headSequence + 1;
    this.hurry();
    await new Promise<void>((resolve) => {
      this.#waiters.push({ sequence, resolve, reject: () => resolve() });
    });
  }

  headStored(head: Head): void {
    this.#head = head;
    const waiting = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiting) {
      if (waiter.sequence <= head.sequence) waiter.resolve();
      else this.#waiters.push(waiter);
    }
    this.onHead();
  }

  troubled(fault: ObjectFault | undefined): void {
    const { description, logMessage } = this.#parts;
    if (fault !== undefined && this.#trouble === undefined) {
      logMessage(
        "warn",
        `${description} is away: ${fault.message}; writes are kept here meanwhile`,
      );
    } else if (fault === undefined && this.#trouble !== undefined) {
      logMessage("warn", `${description} is back`);
    }
    this.#trouble = fault;
  }

  /** The store is not ours any more: from now on nothing is acknowledged, and nothing is sent. */
  fence(reason: string): void {
    if (this.fault !== undefined) return;
    const { description, log, uploader, lease, logMessage } = this.#parts;
    const message =
      `${description}: this machine must stop writing: ${reason}; ` +
      `${log.dirtyBytes} bytes that were acknowledged here are not in the store`;
    this.fault = new StoreFault("unavailable", message);
    logMessage("error", message);
    uploader.stop();
    lease.lose(reason);
    const waiting = this.#waiters;
    this.#waiters = [];
    for (const { reject } of waiting) reject(this.fault);
    this.onFault();
  }

  /** Sends everything that is durable here. False: the object store was away for too long. */
  async sendAll(): Promise<boolean> {
    const { log, uploader, closeTimeoutMs, garbage } = this.#parts;
    this.hurry();
    await this.#forAtMost(closeTimeoutMs, uploader.settled());
    if (this.fault === undefined && log.headSequence >= log.durableSequence) {
      await garbage.collect(true);
      return true;
    }
    const { description, logMessage } = this.#parts;
    logMessage(
      "warn",
      `${description} is away: ${log.dirtyBytes} bytes stay here only; they are sent when the ` +
        "store is opened again with the same folder",
    );
    return false;
  }

  /** Waits no longer than this time, whatever becomes of the work. */
  async #forAtMost(durationMs: number, work: Promise<void>): Promise<void> {
    const done = new AbortController();
    await Promise.race([work, this.#parts.clock.sleep(durationMs, done.signal)]);
    done.abort();
  }

  async stop(): Promise<void> {
    const { uploader, lease, abort } = this.#parts;
    uploader.stop();
    if (this.fault === undefined) await this.#forAtMost(RELEASE_TIMEOUT_MS, lease.release());
    lease.abandon();
    abort.abort();
  }
}
