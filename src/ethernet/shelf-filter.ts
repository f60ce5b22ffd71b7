import { ALL_SHELVES, ALL_SLOTS } from "../aoe/header.wire.ts";
import {
  accept,
  and,
  type BpfStep,
  drop,
  jump,
  jumpIfEqual,
  label,
  loadByte,
  loadHalf,
  loadWord,
} from "./bpf.ts";
import { packetFilter } from "./packet-filter.ts";

const SOURCE = 6;
const SHELF = 16;
const SLOT = 18;
/** In the word that begins at the shelf: shelf and slot without the command. */
const ADDRESS = 0xffffff00;

/** Two instructions a target, in a program of at most 4096. */
const TARGETS_LIMIT = 1500;

export interface ServedAddress {
  readonly shelf: number;
  readonly slot: number;
}

/**
 * A socket filter for the shelves and slots served: what other servers on the segment are asked
 * never reaches this process. Wildcards pass, and so do announcements of our addresses by others.
 * With very many targets there is no filter beyond that of the port.
 * @param blockedMac a sender of which nothing is let through, as a 48-bit number
 */
export function shelfFilter(addresses: readonly ServedAddress[], blockedMac?: number): Uint8Array {
  const blocked = blockedMac === undefined ? [] : dropSource(blockedMac);
  if (addresses.length > TARGETS_LIMIT) return packetFilter(blocked);
  return packetFilter([
    ...blocked,
    loadHalf(SHELF),
    jumpIfEqual(ALL_SHELVES, undefined, "one-shelf"),
    accept(),
    label("one-shelf"),
    loadByte(SLOT),
    jumpIfEqual(ALL_SLOTS, undefined, "one-slot"),
    accept(),
    label("one-slot"),
    loadWord(SHELF),
    and(ADDRESS),
    ...addresses.flatMap(acceptAddress),
    jump("drop"),
  ]);
}

function dropSource(mac: number): BpfStep[] {
  return [
    loadWord(SOURCE),
    jumpIfEqual(Math.floor(mac / 65536), undefined, "not-blocked"),
    loadHalf(SOURCE + 4),
    jumpIfEqual(mac % 65536, undefined, "not-blocked"),
    drop(),
    label("not-blocked"),
  ];
}

function acceptAddress({ shelf, slot }: ServedAddress, index: number): BpfStep[] {
  const next = `not-${index}`;
  const word = ((shelf << 16) | (slot << 8)) >>> 0;
  return [jumpIfEqual(word, undefined, next), accept(), label(next)];
}
