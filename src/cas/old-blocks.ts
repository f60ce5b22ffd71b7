import { type BlobStore, StoreFault } from "../blob/blob-store.ts";
import type { WriteGroup } from "./write-group.ts";

/** Reads the old content of a block below the groups given; see VolumeReader. */
export type OldContent = (
  block: number,
  below: number,
  target: Uint8Array,
  done: (isRead: boolean) => void,
) => void;

/** What a block that a group writes in part held before. */
export interface OldBlock {
  readonly block: number;
  readonly slot: number;
  readonly content: Uint8Array;
  isRead: boolean;
}

/** Reads what the blocks held that the group writes in part; `done` may be called at once. */
export function readOldBlocks(
  group: WriteGroup,
  below: number,
  oldContent: OldContent,
  store: BlobStore,
  done: (blocks: readonly OldBlock[]) => void,
): void {
  const blocks: OldBlock[] = [];
  let waiting = 1;
  const finished = (): void => {
    if (--waiting === 0) done(blocks);
  };
  group.forEachIncomplete((block, slot) => {
    waiting++;
    const old = { block, slot, content: new Uint8Array(group.blockBytes), isRead: false };
    blocks.push(old);
    oldContent(block, below, old.content, (isRead) => {
      old.isRead = isRead;
      finished();
    });
  });
  if (waiting > 1) store.submit();
  finished();
}

/** Of blocks that could not be read; undefined: all were. */
export function faultOf(blocks: readonly OldBlock[]): StoreFault | undefined {
  const unread = blocks.filter(({ isRead }) => !isRead).map(({ block }) => block);
  if (unread.length === 0) return undefined;
  return new StoreFault("damaged", `the rest of blocks ${unread.join(", ")} cannot be read`);
}

/** Completes the group's blocks; those that could not be read are marked as failed. */
export function fillIn(group: WriteGroup, blocks: readonly OldBlock[]): void {
  for (const { block, slot, content, isRead } of blocks) {
    if (isRead) group.complete(slot, content, 0);
    else group.failedBlocks.add(block);
  }
}
