import { AwaitedBatch } from "../blob/blob-store.ts";
import { hashOf } from "../blob/hash.ts";
import type { Catalog, CatalogOperation } from "./catalog.ts";
import { encodeCatalogNote } from "./notes.ts";

/** An append that changes the catalog: when it is in the log its notes take effect. */
export class CatalogBatch extends AwaitedBatch {
  readonly #catalog: Catalog;

  constructor(catalog: Catalog) {
    super(1);
    this.#catalog = catalog;
    this.privileged = true;
  }

  operation(operation: CatalogOperation): this {
    this.notes.push(encodeCatalogNote(operation));
    return this;
  }

  note(note: Uint8Array): this {
    this.notes.push(note);
    return this;
  }

  blob(data: Uint8Array): this {
    this.addBlob(hashOf(data), 0, data, 0, data.length);
    return this;
  }

  override appended(): void {
    for (const note of this.notes) this.#catalog.note(note);
    super.appended();
  }
}
