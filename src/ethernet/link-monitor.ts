import { constants } from "node:os";
import { POLL_READABLE, type PollHandle, shim } from "../native/shim.ts";
import { errnoName } from "../system/libc.ts";
import { listLinks } from "./netlink.ts";
import {
  InterfaceFlag,
  LINK_GROUP_MASK,
  type LinkMessage,
  MessageType,
  parseMessages,
} from "./netlink.wire.ts";

/** An interface as the kernel describes it at one moment; replaced when anything changes. */
export interface InterfaceState {
  readonly index: number;
  readonly name: string;
  /** Six octets; empty when the interface is not an Ethernet one. */
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  /** Switched on by the administrator. */
  readonly switchedOn: boolean;
  /** Switched on and with a carrier. */
  readonly up: boolean;
  readonly loopback: boolean;
  /** "bridge", "tun", "veth", "vlan", …; "" for a plain NIC. */
  readonly kind: string;
  /** What it is a part of: "bridge", "bond", …; "" for nothing. */
  readonly slaveKind: string;
  /** The interface that it is a part of; 0 for none. */
  readonly masterIndex: number;
  /** False while it is a port that its bridge passes no frames to (spanning tree, no carrier). */
  readonly isForwarding: boolean;
  /**
   * Differs between an interface and a later one with the same index and name; to be compared only
   * between states of one watch.
   */
  readonly incarnation: number;
}

type Watcher = (state: InterfaceState | undefined) => void;

const BUFFER_BYTES = 65536;

/** Datagrams read in one turn of the loop, so that a storm of changes cannot hold it. */
const MAXIMUM_DATAGRAMS = 64;

/** All interfaces now, by index. */
export function listInterfaces(): InterfaceState[] {
  const states = new Map<number, InterfaceState>();
  for (const message of listLinks()) applyMessage(states, message);
  return [...states.values()];
}

export function findInterface(name: string): InterfaceState | undefined {
  return listInterfaces().find((state) => state.name === name);
}

let lastIncarnation = 0;

/** @returns whether anything that InterfaceState shows has changed */
function applyMessage(states: Map<number, InterfaceState>, message: LinkMessage): boolean {
  const known = states.get(message.index);
  if (message.isFromBridge) return applyBridgeMessage(states, message, known);
  if (message.type === MessageType.deleteLink) return states.delete(message.index);
  const switchedOn = (message.flags & InterfaceFlag.up) !== 0;
  const state: InterfaceState = {
    index: message.index,
    name: message.name ?? known?.name ?? "",
    mac: message.mac ?? known?.mac ?? new Uint8Array(0),
    mtuBytes: message.mtuBytes ?? known?.mtuBytes ?? 0,
    switchedOn,
    up: switchedOn && (message.flags & InterfaceFlag.running) !== 0,
    loopback: (message.flags & InterfaceFlag.loopback) !== 0,
    kind: message.kind ?? known?.kind ?? "",
    // A message without these is about an interface that is no part of another (any more).
    slaveKind: message.slaveKind ?? "",
    masterIndex: message.masterIndex ?? 0,
    isForwarding: message.isForwarding ?? true,
    incarnation: known?.incarnation ?? ++lastIncarnation,
  };
  if (known !== undefined && sameState(known, state)) return false;
  states.set(message.index, state);
  return true;
}

function applyBridgeMessage(
  states: Map<number, InterfaceState>,
  message: LinkMessage,
  known: InterfaceState | undefined,
): boolean {
  // That an interface has left its bridge is told by the interface as well.
  const { type, isForwarding } = message;
  if (known === undefined || isForwarding === undefined || type !== MessageType.newLink)
    return false;
  if (known.isForwarding === isForwarding) return false;
  states.set(known.index, { ...known, isForwarding });
  return true;
}

function sameState(one: InterfaceState, other: InterfaceState): boolean {
  return (
    one.name === other.name &&
    one.mtuBytes === other.mtuBytes &&
    one.switchedOn === other.switchedOn &&
    one.up === other.up &&
    one.kind === other.kind &&
    one.slaveKind === other.slaveKind &&
    one.masterIndex === other.masterIndex &&
    one.isForwarding === other.isForwarding &&
    one.mac.length === other.mac.length &&
    one.mac.every((octet, index) => octet === other.mac[index])
  );
}

/** Follows every interface of the namespace through one netlink socket. */
class LinkMonitor {
  readonly #descriptor: number;
  readonly #poll: PollHandle;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #watchers = new Map<Watcher, { name: string; last: InterfaceState | undefined }>();
  #states = new Map<number, InterfaceState>();

  constructor() {
    const descriptor = shim.netlinkOpen(LINK_GROUP_MASK);
    if (descriptor < 0)
      throw new Error(`cannot follow the network interfaces: ${errnoName(descriptor)}`);
    this.#descriptor = descriptor;
    this.#poll = shim.pollOpen(descriptor, () => this.#onReadable());
    shim.pollSet(this.#poll, POLL_READABLE);
    // Listening began before this, so no change falls between the two.
    this.#readAll();
  }

  get watcherCount(): number {
    return this.#watchers.size;
  }

  find(name: string): InterfaceState | undefined {
    for (const state of this.#states.values()) {
      if (state.name === name) return state;
    }
    return undefined;
  }

  add(name: string, watcher: Watcher): InterfaceState | undefined {
    const last = this.find(name);
    this.#watchers.set(watcher, { name, last });
    return last;
  }

  remove(watcher: Watcher): void {
    this.#watchers.delete(watcher);
  }

  close(): void {
    shim.pollClose(this.#poll);
    shim.closeDescriptor(this.#descriptor);
  }

  #readAll(): void {
    const states = new Map<number, InterfaceState>();
    for (const message of listLinks()) applyMessage(states, message);
    this.#states = states;
  }

  #onReadable(): void {
    let changed = false;
    for (let datagrams = 0; datagrams < MAXIMUM_DATAGRAMS; datagrams++) {
      const length = shim.netlinkReceive(this.#descriptor, this.#buffer);
      if (length === -constants.errno.ENOBUFS) {
        // The kernel had to drop announcements: only a new list is sure to be right.
        this.#readAll();
        changed = true;
        continue;
      }
      if (length <= 0) break;
      for (const link of parseMessages(this.#buffer.subarray(0, length)).links) {
        changed = applyMessage(this.#states, link) || changed;
      }
    }
    // libuv stops a poll that reported an error (a lost announcement is one).
    shim.pollSet(this.#poll, POLL_READABLE);
    if (changed) this.#notify();
  }

  #notify(): void {
    for (const [watcher, watched] of this.#watchers) {
      const state = this.find(watched.name);
      if (state === watched.last) continue;
      watched.last = state;
      watcher(state);
    }
  }
}

/** One for the thread; it lives as long as anybody watches, so that it keeps no process alive. */
let monitor: LinkMonitor | undefined;

export interface InterfaceWatch {
  /** The interface when watching began; undefined when there was none of that name. */
  readonly initial: InterfaceState | undefined;
  close(): void;
}

/**
 * Follows the interface that is called `name`, whichever that is: `onChange` gets its new state, or
 * undefined when there is none of the name any more (removed, renamed, moved to another namespace).
 */
export function watchInterface(name: string, onChange: Watcher): InterfaceWatch {
  const shared = (monitor ??= new LinkMonitor());
  // A function of its own, so that the same callback can watch twice.
  const watcher: Watcher = (state) => onChange(state);
  return {
    initial: shared.add(name, watcher),
    close() {
      shared.remove(watcher);
      if (shared.watcherCount > 0 || monitor !== shared) return;
      shared.close();
      monitor = undefined;
    },
  };
}
