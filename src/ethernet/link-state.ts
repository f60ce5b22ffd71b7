import { FRAME_CAPACITY_BYTES } from "../arena/frame-arena.ts";
import { ETHERNET_HEADER_BYTES, type LinkState } from "./ethernet-port.ts";
import type { InterfaceState } from "./link-monitor.ts";

/** The MTU beyond which a frame of the arena could not hold a whole Ethernet frame. */
export const MAXIMUM_MTU_BYTES = FRAME_CAPACITY_BYTES - ETHERNET_HEADER_BYTES;

/** What a port shows of its interface; of one that is gone, the last that was known, and down. */
export function linkOf(
  state: InterfaceState | undefined,
  previous: LinkState | undefined,
): LinkState {
  if (state === undefined) {
    return {
      mac: previous?.mac ?? new Uint8Array(6),
      mtuBytes: previous?.mtuBytes ?? 0,
      up: false,
    };
  }
  return {
    mac: state.mac,
    mtuBytes: Math.min(state.mtuBytes, MAXIMUM_MTU_BYTES),
    up: state.up,
  };
}

export function sameLink(one: LinkState, other: LinkState): boolean {
  return (
    one.up === other.up &&
    one.mtuBytes === other.mtuBytes &&
    one.mac.every((octet, index) => octet === other.mac[index])
  );
}
