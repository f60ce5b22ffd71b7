import {
  accept,
  assemble,
  type BpfStep,
  drop,
  FrameFact,
  jumpIfEqual,
  label,
  loadByte,
  loadWord,
  PacketType,
} from "./bpf.ts";

/**
 * The filter of a packet port: frames for this station or for everybody, without a VLAN tag (a
 * tagged frame belongs to the VLAN's own interface). The caller's `steps` come next; they see only
 * such frames, may jump to the labels "accept" and "drop", and a frame that gets to their end is
 * accepted.
 */
export function packetFilter(steps: readonly BpfStep[] = []): Uint8Array {
  return assemble([
    loadByte(FrameFact.packetType),
    jumpIfEqual(PacketType.host, "for-us"),
    jumpIfEqual(PacketType.broadcast, "for-us"),
    drop(),
    label("for-us"),
    loadWord(FrameFact.vlanTagPresent),
    jumpIfEqual(0, "untagged"),
    drop(),
    label("untagged"),
    ...steps,
    label("accept"),
    accept(),
    label("drop"),
    drop(),
  ]);
}

/** Lets nothing through: while a socket is not bound to the interface that it is meant for. */
export function closedFilter(): Uint8Array {
  return assemble([drop()]);
}
