import { type BlobStore, MARK_KEPT } from "../blob/blob-store.ts";
import type { Catalog } from "./catalog.ts";
import { CatalogBatch } from "./catalog-batch.ts";
import type { RootDescriptor } from "./merkle-node.ts";
import { NodeReader } from "./node-reader.ts";
import { NodeWriter } from "./node-writer.ts";
import { encodeCut, encodeHead } from "./notes.ts";
import { Overlay } from "./overlay.ts";
import { Pacer } from "../blob/pacer.ts";
import { TreeBuilder } from "./tree-builder.ts";
import type { Volume } from "./volume.ts";
import type { VolumeState } from "./volume-state.ts";

export interface CheckpointSubject {
  readonly store: BlobStore;
  readonly catalog: Catalog;
  readonly state: VolumeState;
  /** Set while the volume is open. */
  readonly volume: Volume | undefined;
  /** A garbage collection is marking: names that move into the tree must not be missed. */
  readonly isCollecting: () => boolean;
}

/** Whether the tree says everything that the volume holds. */
export function isCheckpointed({ state }: CheckpointSubject): boolean {
  return state.isClean && state.base.height === state.geometry.height;
}

/**
 * Builds the tree of everything written so far, and lets it become the volume's tree. One at a
 * time for a store. Writes go on meanwhile; they belong to the next tree.
 *
 * @param finish adds what shall become durable together with the new tree
 */
export async function checkpointVolume(
  subject: CheckpointSubject,
  finish: (batch: CatalogBatch, root: RootDescriptor) => void = () => {},
): Promise<RootDescriptor> {
  const { store, catalog, state } = subject;
  const batch = new CatalogBatch(catalog);
  if (!isCheckpointed(subject)) {
    const { top, height } = await buildTree(subject);
    const sizeBytes = state.record.sizeBytes;
    batch.note(encodeHead("head", state.id, { top, height, sizeBytes }));
    const root = rootOf(state, top, height);
    finish(batch, root);
    await batch.appendTo(store);
    return root;
  }
  const root = rootOf(state, state.base.top, state.base.height);
  finish(batch, root);
  if (batch.notes.length > 0) await batch.appendTo(store);
  return root;
}

async function buildTree(subject: CheckpointSubject): Promise<{ top: Uint8Array; height: number }> {
  const { store, catalog, state, volume, isCollecting } = subject;
  const cut = new CatalogBatch(catalog);
  cut.durable = false;
  await cut.note(encodeCut(state.id)).appendTo(store);
  const { height } = state.geometry;
  const builder = new TreeBuilder(new NodeReader(store), new NodeWriter(store), {
    pace: new Pacer().pace,
    visitHash: (hashes, offset) => {
      if (isCollecting()) store.exchangeMark(hashes, offset, MARK_KEPT);
    },
    ...(volume === undefined
      ? {}
      : { leafBuilt: (leaf, page, at) => volume.leafBuilt(leaf, page, at) }),
  });
  const overlay = state.frozen ?? new Overlay(height);
  return { top: await builder.build(state.base, overlay, height), height };
}

function rootOf(state: VolumeState, top: Uint8Array, height: number): RootDescriptor {
  const { sizeBytes, blockBytes } = state.record;
  return { sizeBytes, blockBytes, height, top };
}
