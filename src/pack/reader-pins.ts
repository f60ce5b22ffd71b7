import { ObjectFault, objectFaultCode, type ObjectStore } from "../object/object-store.ts";
import type { Clock } from "./clock.ts";
import { decodeDocument, encodeDocument } from "./document.ts";
import { readerKey, READERS } from "./pack-names.ts";
import { persistently } from "./persistence.ts";

/** What a reader leaves under "readers/": while it is renewed, nothing that it reads is deleted. */
export interface ReaderPin {
  readonly host: string;
  /** The head that it reads; 0: it has not read one yet, and may read any from now on. */
  readonly head: number;
  /** Counts the renewals. */
  readonly counter: number;
  readonly durationMs: number;
}

const RENEWALS_PER_PIN = 6;
const EXPIRY_MARGIN = 1.05;

/** The writer's view: which heads are being read. */
export class ReaderPins {
  readonly #objects: ObjectStore;
  readonly #clock: Clock;
  readonly #seen = new Map<string, { etag: string; sinceMs: number }>();

  constructor(objects: ObjectStore, clock: Clock) {
    this.#objects = objects;
    this.#clock = clock;
  }

  /**
   * The oldest head that anybody reads; Infinity: nobody does. A pin that was not renewed for as
   * long as it lasts, measured by our clock, is removed. @throws ObjectFault
   */
  async oldestHead(): Promise<number> {
    let oldest = Infinity;
    const present = new Set<string>();
    for await (const { key, etag } of this.#objects.list(READERS)) {
      present.add(key);
      const pin = await this.#read(key);
      if (pin === undefined) continue;
      const seen = this.#seen.get(key);
      if (seen?.etag !== etag) {
        this.#seen.set(key, { etag, sinceMs: this.#clock.nowMs() });
      } else if (this.#clock.nowMs() - seen.sinceMs > pin.durationMs * EXPIRY_MARGIN) {
        await this.#objects.delete(key);
        continue;
      }
      oldest = Math.min(oldest, pin.head);
    }
    for (const key of this.#seen.keys()) if (!present.has(key)) this.#seen.delete(key);
    return oldest;
  }

  /** A pin that cannot be understood pins everything. */
  async #read(key: string): Promise<ReaderPin | undefined> {
    try {
      const { data } = await this.#objects.get(key);
      const pin = decodeDocument("reader", data) as ReaderPin | "newer" | undefined;
      if (pin !== undefined && pin !== "newer") return pin;
      return { host: "", head: 0, counter: 0, durationMs: Infinity };
    } catch (error) {
      if (objectFaultCode(error) === "missing") return undefined;
      throw error;
    }
  }
}

export interface OwnPinOptions {
  readonly objects: ObjectStore;
  readonly clock: Clock;
  /** Random. */
  readonly id: string;
  readonly host: string;
  readonly durationMs: number;
  readonly signal: AbortSignal;
  /** The writer took us for dead, and may have deleted what we read. */
  readonly onLost: () => void;
}

/** A reader's own pin. */
export class OwnPin {
  readonly #options: OwnPinOptions;
  #pin: ReaderPin;
  #etag = "";
  /** One put after the other: each replaces the version of the one before. */
  #putting: Promise<void> = Promise.resolve();

  private constructor(options: OwnPinOptions) {
    this.#options = options;
    const { host, durationMs } = options;
    this.#pin = { host, head: 0, counter: 0, durationMs };
  }

  /** From now on nothing is deleted that a head names which is read from now on. */
  static async set(options: OwnPinOptions): Promise<OwnPin> {
    const pin = new OwnPin(options);
    pin.#etag = await options.objects.putIfAbsent(readerKey(options.id), encode(pin.#pin));
    void pin.#keep();
    return pin;
  }

  /** What only older heads name may be deleted. */
  reads(head: number): Promise<void> {
    return this.#inTurn(async () => this.#put(head));
  }

  #inTurn(action: () => Promise<void>): Promise<void> {
    const done = this.#putting.then(action);
    this.#putting = done.catch(() => undefined);
    return done;
  }

  async #put(head: number): Promise<void> {
    const { objects, id } = this.#options;
    const next = { ...this.#pin, head, counter: this.#pin.counter + 1 };
    try {
      this.#etag = await objects.putIfMatch(readerKey(id), encode(next), this.#etag);
    } catch (error) {
      if (objectFaultCode(error) !== "changed") throw error;
      // Only we write it: a version that is there is one whose answer was lost.
      const { etag } = await objects.get(readerKey(id));
      this.#etag = await objects.putIfMatch(readerKey(id), encode(next), etag);
    }
    this.#pin = next;
  }

  async #keep(): Promise<void> {
    const { clock, durationMs, signal, onLost } = this.#options;
    for (;;) {
      await clock.sleep(durationMs / RENEWALS_PER_PIN, signal);
      if (signal.aborted) return;
      try {
        await persistently({ clock, signal }, async () =>
          this.#inTurn(async () => this.#put(this.#pin.head)),
        );
      } catch (error) {
        if (!(error instanceof ObjectFault) || signal.aborted) return;
        onLost();
        return;
      }
    }
  }

  async remove(): Promise<void> {
    const { objects, id } = this.#options;
    await objects.delete(readerKey(id)).catch((error: unknown) => {
      // It runs out by itself.
      if (!(error instanceof ObjectFault)) throw error;
    });
  }
}

function encode(pin: ReaderPin): Uint8Array {
  return encodeDocument("reader", pin);
}
