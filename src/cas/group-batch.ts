import { BlobBatch, type StoreFault } from "../blob/blob-store.ts";
import type { WriteGroup } from "./write-group.ts";

export interface GroupOutcome {
  committed(batch: GroupBatch): void;
  failed(batch: GroupBatch, fault: StoreFault): void;
}

/** A group on its way into the store. Pooled. */
export class GroupBatch extends BlobBatch {
  readonly #outcome: GroupOutcome;
  #group: WriteGroup | undefined;
  beganMs = 0;

  constructor(capacity: number, outcome: GroupOutcome) {
    super(capacity);
    this.#outcome = outcome;
  }

  get group(): WriteGroup {
    if (this.#group === undefined) throw new Error("the batch has no group");
    return this.#group;
  }

  begin(group: WriteGroup): void {
    this.clear();
    this.#group = group;
    this.durable = group.durable;
    this.beganMs = performance.now();
  }

  appended(): void {
    this.#outcome.committed(this);
  }

  failed(fault: StoreFault): void {
    this.#outcome.failed(this, fault);
  }
}
