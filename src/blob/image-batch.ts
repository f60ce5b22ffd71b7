import { BlobBatch } from "./blob-store.ts";

/** A piece of a checkpoint's image: one note, durable, in the reserve if need be. */
export class ImageBatch extends BlobBatch {
  constructor(image: Uint8Array) {
    super(0);
    this.notes.push(image);
    this.privileged = true;
  }

  appended(): void {}
  failed(): void {}
}
