import { StoreFault } from "../blob/blob-store.ts";
import type { ObjectFault, ObjectStore } from "../object/object-store.ts";
import type { RemoteStatus } from "../remote-status.ts";
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
  /** Called when nothing can wait for the object store any more: see `refusal`. */
  onRefusal: () => void = () => {};
  readonly #parts: RemoteSideParts;
  #trouble: ObjectFault | undefined;
  #head: Head | undefined;
  readonly #waiters = new Set<Waiter>();
  /** Of the clock: a stop waits no longer; undefined: none has begun. */
  #deadlineMs: number | undefined;
  /** Set when that time has passed: nothing waits for the object store any more. */
  #outOfTime: StoreFault | undefined;

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

  /** Why nothing can wait for the object store; undefined: it can. */
  get refusal(): StoreFault | undefined {
    return this.fault ?? this.#outOfTime;
  }

  whenLeaseHolds(): Promise<void> {
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    return new Promise((resolve, reject) => {
      const waiter = { sequence: Infinity, resolve, reject };
      this.#waiters.add(waiter);
      const done = (action: () => void): void => {
        this.#waiters.delete(waiter);
        action();
      };
      this.#parts.lease.whenValid().then(
        () => done(resolve),
        (error: unknown) => done(() => reject(this.fault ?? error)),
      );
    });
  }

  /** See `BlobStore.confirm`. */
  confirm(isRemote: boolean): Promise<void> | undefined {
    if (this.fault !== undefined) return Promise.reject(this.fault);
    const { lease, log, uploader } = this.#parts;
    if (isRemote && log.headSequence < log.durableSequence) {
      if (this.refusal !== undefined) return Promise.reject(this.refusal);
      const sequence = log.durableSequence;
      uploader.hurry(sequence);
      return new Promise((resolve, reject) => this.#waiters.add({ sequence, resolve, reject }));
    }
    return lease.isValid ? undefined : this.whenLeaseHolds();
  }

  /** Everything that is durable here is wanted in the store. */
  hurry(): void {
    this.#parts.uploader.hurry(this.#parts.log.durableSequence);
  }

  /** Resolves when another head is stored, or none will be. */
  async nextHead(): Promise<void> {
    if (this.refusal !== undefined) return;
    const sequence = this.#parts.log.headSequence + 1;
    this.hurry();
    await new Promise<void>((resolve) => {
      this.#waiters.add({ sequence, resolve, reject: () => resolve() });
    });
  }

  headStored(head: Head): void {
    this.#head = head;
    for (const waiter of this.#waiters) {
      if (waiter.sequence > head.sequence) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
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
    this.#refuse(this.fault);
  }

  #refuse(fault: StoreFault): void {
    const waiting = [...this.#waiters];
    this.#waiters.clear();
    for (const { reject } of waiting) reject(fault);
    this.onRefusal();
  }

  /** A stop has begun: from now on everything together waits for `closeTimeoutMs` at most. */
  beginClosing(): void {
    const { clock, closeTimeoutMs, abort, description } = this.#parts;
    if (this.#deadlineMs !== undefined) return;
    this.#deadlineMs = clock.nowMs() + closeTimeoutMs;
    void clock.sleep(closeTimeoutMs, abort.signal).then(() => {
      if (abort.signal.aborted || this.fault !== undefined) return;
      this.#outOfTime = new StoreFault(
        "unavailable",
        `${description} is away, and the store stops`,
      );
      this.#refuse(this.#outOfTime);
    });
  }

  /** Sends everything that is durable here. False: the object store was away for too long. */
  async sendAll(): Promise<boolean> {
    const { log, uploader, clock, garbage } = this.#parts;
    this.beginClosing();
    this.hurry();
    const remainingMs = (): number => Math.max(0, (this.#deadlineMs ?? 0) - clock.nowMs());
    await this.#forAtMost(remainingMs(), uploader.settled());
    if (this.fault === undefined && log.headSequence >= log.durableSequence) {
      // What is left of it is found as an orphan by the next owner.
      await this.#forAtMost(remainingMs(), garbage.collect(true));
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
    const { uploader, lease, abort, garbage } = this.#parts;
    uploader.stop();
    garbage.stop();
    if (this.fault === undefined) await this.#forAtMost(RELEASE_TIMEOUT_MS, lease.release());
    lease.abandon();
    abort.abort();
  }
}
