import { HASH_BYTES, hashFromHex } from "../blob/hash.ts";
import type { CasStore } from "./cas-store.ts";
import { ARITY } from "./geometry.ts";
import { nextChild, pageWords } from "./merkle-node.ts";
import { NodeReader } from "./node-reader.ts";
import { Pacer } from "../blob/pacer.ts";
import { walkTree } from "./tree-walk.ts";

export interface SpaceUse {
  /** A snapshot's id, or a volume's name. */
  readonly snapshot: string | null;
  readonly volume: string;
  /** Bytes of blocks that nothing else names. */
  readonly uniqueBytes: number;
  /** Bytes that a collection gives back when it is deleted: the same, and the tree above them. */
  readonly freedIfDeletedBytes: number;
}

export interface SpaceReport {
  readonly uses: SpaceUse[];
  /** Bytes that more than one of them names. */
  readonly sharedBytes: number;
  /** Bytes that nothing names: the next collection finds them. */
  readonly garbageBytes: number;
}

const SHARED = 65535;

class Owner {
  readonly mark: number;
  uniqueBytes = 0;
  treeBytes = 0;

  constructor(mark: number) {
    this.mark = mark;
  }
}

/**
 * Says for each snapshot and volume what belongs to it alone. Every blob gets its owner as a mark:
 * the first tree that reaches it, or "shared" when a second one does. Each node is read at most
 * twice, however many snapshots there are.
 */
export class SpaceAccounting {
  readonly #cas: CasStore;
  readonly #owners = new Map<number, Owner>();
  #sharedBytes = 0;

  constructor(cas: CasStore) {
    this.#cas = cas;
  }

  measure(): Promise<SpaceReport> {
    return this.#cas.maintenance.run(async () => {
      await this.#cas.checkpoint();
      this.#cas.store.beginMarking(false);
      try {
        return await this.#measure();
      } finally {
        this.#cas.store.endMarking();
      }
    });
  }

  async #measure(): Promise<SpaceReport> {
    const { catalog } = this.#cas;
    const uses: { use: Pick<SpaceUse, "snapshot" | "volume">; owner: Owner }[] = [];
    for (const { id, root_hash, volume } of catalog.snapshots.values()) {
      const owner = this.#newOwner();
      const root = await this.#cas.loadRoot(root_hash);
      await this.#cas.holding(root, async () => {
        this.#claim(hashFromHex(root_hash) as Uint8Array, 0, owner, true);
        await this.#claimTree(root.top, root.height, owner);
      });
      uses.push({ use: { snapshot: id, volume }, owner });
    }
    for (const state of catalog.volumes.values()) {
      const owner = this.#newOwner();
      const { top, height } = state.base;
      await this.#cas.holding({ top, height }, () => this.#claimTree(top, height, owner));
      uses.push({ use: { snapshot: null, volume: state.record.name }, owner });
    }
    const total = this.#cas.store.statistics.blobBytes;
    const result = uses.map(({ use, owner: { uniqueBytes, treeBytes } }) => ({
      ...use,
      uniqueBytes,
      freedIfDeletedBytes: uniqueBytes + treeBytes,
    }));
    const claimed = result.reduce((sum, { freedIfDeletedBytes }) => sum + freedIfDeletedBytes, 0);
    const garbageBytes = Math.max(0, total - claimed - this.#sharedBytes);
    return { uses: result, sharedBytes: this.#sharedBytes, garbageBytes };
  }

  #newOwner(): Owner {
    const owner = new Owner(this.#owners.size + 1);
    if (owner.mark >= SHARED) throw new Error("more than 65534 snapshots and volumes");
    this.#owners.set(owner.mark, owner);
    return owner;
  }

  async #claimTree(top: Uint8Array, height: number, owner: Owner): Promise<void> {
    const pacer = new Pacer();
    await walkTree(new NodeReader(this.#cas.store), top, height, {
      enter: (_level, hashes, offset) => this.#claim(hashes, offset, owner, true),
      leaf: (page) => {
        const words = pageWords(page);
        for (let child = nextChild(words, 0); child < ARITY; child = nextChild(words, child + 1)) {
          this.#claim(page, child * HASH_BYTES, owner, false);
        }
        return pacer.pace();
      },
    });
  }

  /** Whether what is below the blob has to be looked at. */
  #claim(hashes: Uint8Array, offset: number, owner: Owner, isTree: boolean): boolean {
    const { store } = this.#cas;
    const before = store.exchangeMark(hashes, offset, owner.mark);
    if (before < 0 || before === owner.mark) return before >= 0 && before !== owner.mark;
    const bytes = store.storedBytes(hashes, offset);
    if (before === 0) {
      if (isTree) owner.treeBytes += bytes;
      else owner.uniqueBytes += bytes;
      return true;
    }
    store.exchangeMark(hashes, offset, SHARED);
    if (before === SHARED) return false;
    const other = this.#owners.get(before);
    if (other !== undefined && isTree) other.treeBytes -= bytes;
    else if (other !== undefined) other.uniqueBytes -= bytes;
    this.#sharedBytes += bytes;
    return true;
  }
}
